//! What leads nowhere ends soon and says why and what to do; and no secret is ever shown or kept.

use crate::common::background::at_once;
use crate::common::{Environment, Run};
use crate::s3::{ACCESS_KEY, Fault, Kind, On, S3Server, SECRET_KEY};
use crate::scene::{PLACE, Scene};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Secrets that must be seen nowhere.
const TOKEN: &str = "canary-session-token-that-must-never-be-shown";
const PASSWORD: &str = "canary-password";
/// What all of them have, and `SECRET_KEY` too.
const CANARY: &str = "canary";

/// A certificate for localhost that nobody trusts, made for this test: `openssl req -x509 -newkey ec
/// -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 -subj /CN=localhost
/// -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE`.
const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBlzCCAT6gAwIBAgIUE+r8/1fGoBNjIDHHtvnicGBsF/wwCgYIKoZIzj0EAwIw\n\
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMTExMjMyM1oYDzIxMjYxMDI4\n\
MTEyMzIzWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO\n\
PQMBBwNCAAT/D9M/FZAJpZrCxzBKatH7SKlqJPmYf0w5EBnWolh64t3hpAR1ybRQ\n\
K97DAVSrlgM9mtw+m+rnr/3aCkOhFvnxo2wwajAdBgNVHQ4EFgQUY4MePY5PV9WB\n\
nw+Jrqn4TXivvUYwHwYDVR0jBBgwFoAUY4MePY5PV9WBnw+Jrqn4TXivvUYwGgYD\n\
VR0RBBMwEYIJbG9jYWxob3N0hwR/AAABMAwGA1UdEwEB/wQCMAAwCgYIKoZIzj0E\n\
AwIDRwAwRAIgIjQHgLAf2j2FWkBS7BObYtsKbHDaZeHHWQhSSO5QoQICIBhNHcX5\n\
g/E3iWnLlJfDu4DTF8t5BHoYSpOCP+M1vVzn\n\
-----END CERTIFICATE-----\n\
";
const CERTIFICATE_KEY: &str = "\
-----BEGIN PRIVATE KEY-----\n\
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgKPeWa/cJa2h1XFKU\n\
g/uK8T+LunF7pcXlEvD92QJXyHOhRANCAAT/D9M/FZAJpZrCxzBKatH7SKlqJPmY\n\
f0w5EBnWolh64t3hpAR1ybRQK97DAVSrlgM9mtw+m+rnr/3aCkOhFvnx\n\
-----END PRIVATE KEY-----\n\
";

/// Another one, which its maker marked as an authority's: made as the first, but for its basic
/// constraints.
const AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBljCCATugAwIBAgIUJX87A3ZfrFzvigVNnNwpK1+eNu8wCgYIKoZIzj0EAwIw\n\
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMTE0NTEzMFoYDzIxMjYxMDI4\n\
MTQ1MTMwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO\n\
PQMBBwNCAASS9BCmyCsEVkrPIaGWLLjZKni0EP7/NR3l4qk6lt06n1k5mOBhX1pH\n\
42vRveD9vvZL8O2s1scrWLm2sB7waJ43o2kwZzAdBgNVHQ4EFgQUmtpuFVeMgoGn\n\
6Q8kjA+xi5PSr4owHwYDVR0jBBgwFoAUmtpuFVeMgoGn6Q8kjA+xi5PSr4owDwYD\n\
VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3QwCgYIKoZIzj0EAwID\n\
SQAwRgIhAM5Svb+YB8nljZ4DdcsokxuVkAuM958sBD9N4fm9OAt+AiEA56sk4Egs\n\
ntCTe/H0Zntr67XMHPSxuv90P58s5RaAkKw=\n\
-----END CERTIFICATE-----\n\
";
const AUTHORITY_KEY: &str = "\
-----BEGIN PRIVATE KEY-----\n\
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg+/aiZMV9zbSQyeNI\n\
tOWqSEs6DRD0MJ2ayCSOP/YdA7ehRANCAASS9BCmyCsEVkrPIaGWLLjZKni0EP7/\n\
NR3l4qk6lt06n1k5mOBhX1pH42vRveD9vvZL8O2s1scrWLm2sB7waJ43\n\
-----END PRIVATE KEY-----\n\
";

/// Nothing of a secret is on any output, nor in any file of the environment but those that `but`
/// names.
#[track_caller]
fn assert_no_secret(env: &Environment, run: &Run, but: &[&str]) {
    for output in [&run.stdout, &run.stderr] {
        assert!(!output.contains(CANARY), "a secret is shown\n{output}");
    }
    for entry in walkdir::WalkDir::new(&env.root) {
        let entry = entry.expect("list the environment");
        let is_allowed = but.iter().any(|name| entry.path().ends_with(name));
        if !entry.file_type().is_file() || is_allowed {
            continue;
        }
        let content = fs::read(entry.path()).expect("read a file");
        let is_there = content.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
        assert!(!is_there, "a secret is kept in {}", entry.path().display());
    }
}

/// A store that had ever answered would be asked for three minutes.
const ASKED_FOR: Duration = Duration::from_mins(3);

/// Runs both plainly, told to say much, and with records; each to this code, and without patience.
#[track_caller]
fn fails(
    scene: &Scene,
    code: i32,
    arguments: &[&str],
    change: impl Fn(&mut Command),
    says: &[&str],
) {
    for flags in [&[][..], &["-v"], &["--json", "-v"]] {
        let mut command = scene.command(&[arguments, flags].concat());
        change(&mut command);
        let begun = Instant::now();
        let run = Run::of(command).expect(code);
        assert!(begun.elapsed() < ASKED_FOR, "after {:?}", begun.elapsed());
        let said = format!("{}{}", run.stdout, run.stderr);
        for what in says {
            assert!(said.contains(what), "expected {what:?}\n{}", run.told());
        }
        if code == 7 && flags.is_empty() {
            assert!(run.stderr.contains("help: "), "no way out is said\n{}", run.told());
        }
        assert_no_secret(&scene.env, &run, &[".aws/config", ".aws/credentials", "ca.pem"]);
    }
}

fn scene() -> Scene {
    Scene::new().with_files(&[("a", b"first"), ("b", b"second")]).with_objects(&[("c", b"third")])
}

/// From the source directory to this place.
fn up_to<'s>(scene: &'s Scene, place: &'s str) -> [&'s str; 3] {
    ["mirror", scene.source(), place]
}

fn token(command: &mut Command) {
    command.env("AWS_SESSION_TOKEN", TOKEN);
}

#[test]
fn a_wrong_secret_or_key_ends_the_run() {
    let scene = scene();
    let says = ["rejects the credentials", "AWS_SECRET_ACCESS_KEY"];
    for arguments in [up_to(&scene, PLACE), ["mirror", PLACE, scene.target()]] {
        let wrong = |command: &mut Command| {
            token(command);
            command.env("AWS_SECRET_ACCESS_KEY", format!("not-the-{SECRET_KEY}"));
        };
        fails(&scene, 7, &arguments, wrong, &says);
        let unknown = |command: &mut Command| {
            token(command);
            command.env("AWS_ACCESS_KEY_ID", "NOBODY");
        };
        fails(&scene, 7, &arguments, unknown, &says);
    }
    assert_eq!(scene.server.count(Kind::Put), 0);
}

#[test]
fn a_run_without_credentials_ends_at_once() {
    let scene = scene();
    let none = |command: &mut Command| {
        command.env_remove("AWS_SECRET_ACCESS_KEY").env_remove("AWS_ACCESS_KEY_ID");
    };
    fails(&scene, 7, &up_to(&scene, PLACE), none, &["credentials"]);
}

#[test]
fn a_missing_bucket_ends_the_run() {
    let scene = scene();
    fails(&scene, 7, &up_to(&scene, "s3://nobody/x"), token, &["no such bucket", "s3://nobody"]);
    let down = ["mirror", "s3://nobody/x", scene.target()];
    fails(&scene, 7, &down, token, &["no such bucket", "s3://nobody"]);
    assert!(!scene.env.target.exists() || fs::read_dir(&scene.env.target).unwrap().count() <= 1);
}

#[test]
fn a_bucket_in_another_region_is_named_with_it() {
    let error = |code: &str, region: &str| {
        format!("<Error><Code>{code}</Code><Message>no</Message>{region}</Error>").into()
    };
    for fault in [
        Fault::Reply(
            301,
            vec![("x-amz-bucket-region", "eu-north-9".into())],
            error("PermanentRedirect", ""),
        ),
        Fault::Reply(
            400,
            Vec::new(),
            error("AuthorizationHeaderMalformed", "<Region>eu-north-9</Region>"),
        ),
    ] {
        let scene = scene();
        scene.server.fail(On::any(), fault);
        let says = ["another region", "eu-north-9", "AWS_REGION"];
        fails(&scene, 7, &up_to(&scene, PLACE), token, &says);
    }
}

#[test]
fn a_clock_that_is_far_off_and_can_t_be_set_ends_the_run() {
    let scene = scene();
    scene.server.fail(On::any(), Fault::Error(403, "RequestTimeTooSkewed"));
    fails(&scene, 7, &up_to(&scene, PLACE), token, &["clock"]);
}

#[test]
fn credentials_that_expire_end_the_run_wherever_it_is() {
    for turn in [1, 2, 3] {
        for fault in [Fault::Error(400, "ExpiredToken"), Fault::Error(403, "InvalidAccessKeyId")] {
            let scene = scene();
            for _ in 0..3 {
                scene.server.heal();
                scene.server.fail(On::any().turns(turn..=u64::MAX), fault.clone());
                let run = Run::of({
                    let arguments = ["mirror", "-v", "--json", scene.source(), PLACE];
                    let mut command = scene.command(&arguments);
                    token(&mut command);
                    command
                });
                let run = run.expect(7).names("rejects the credentials");
                assert_no_secret(&scene.env, &run, &[]);
                scene.bucket.delete("p/a");
                scene.bucket.delete("p/b");
            }
        }
    }
}

#[test]
fn credentials_that_expire_on_the_way_down_leave_nothing_half() {
    let scene = Scene::new().with_objects(&[("a", b"first"), ("b", b"second"), ("c", b"third")]);
    scene.server.fail(On::from(Kind::Get, 2), Fault::Error(400, "ExpiredToken"));
    let run = scene.down(&["--transfers", "1"]).expect(7).names("rejects the credentials");
    assert!(scene.server.count(Kind::Get) <= 6, "no hope, no more requests\n{}", run.told());
    for (name, content) in [("a", "first"), ("b", "second"), ("c", "third")] {
        let found = scene.downloaded(name);
        assert!(found.is_none() || found.as_deref() == Some(content.as_bytes()));
    }
    scene.server.heal();
    scene.down(&[]).expect(0);
}

#[test]
fn nobody_listening_ends_the_run() {
    let scene = scene();
    let nobody = TcpListener::bind("127.0.0.1:0").expect("listen");
    let endpoint = format!("http://{}", nobody.local_addr().expect("it has an address"));
    drop(nobody);
    let elsewhere = |command: &mut Command| {
        token(command);
        command.env("AWS_ENDPOINT_URL", &endpoint);
    };
    fails(&scene, 7, &up_to(&scene, PLACE), elsewhere, &["connection failed", &endpoint]);
}

/// A server that takes connections and says nothing on them.
#[test]
fn a_host_that_is_silent_from_the_beginning_is_given_up_within_seconds() {
    let scene = scene();
    let silent = TcpListener::bind("127.0.0.1:0").expect("listen");
    let endpoint = format!("http://{}", silent.local_addr().expect("it has an address"));
    at_once([&up_to(&scene, PLACE)[..], &["ls", PLACE]], |arguments| {
        let mut command = scene.command(arguments);
        command.env("AWS_ENDPOINT_URL", &endpoint);
        let run = Run::of(command).expect(7).names("nothing came for 10 seconds");
        assert_no_secret(&scene.env, &run, &[]);
    });
    // Each came once: nothing was tried again.
    silent.set_nonblocking(true).expect("make a listener non-blocking");
    assert_eq!(std::iter::from_fn(|| silent.accept().ok()).count(), 2);
}

#[test]
fn what_answers_without_tls_ends_the_run() {
    let scene = scene();
    let endpoint = scene.server.endpoint().replace("http://", "https://");
    let secure = |command: &mut Command| {
        token(command);
        command.env("AWS_ENDPOINT_URL", &endpoint);
    };
    let told =
        ["cannot make a secure connection", &scene.server.endpoint()[7..], "answers without TLS"];
    fails(&scene, 7, &up_to(&scene, PLACE), secure, &told);
}

/// A server that speaks TLS with a certificate that nobody vouches for, and with this key.
fn untrusted(certificate: &str, key: &str) -> String {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = provider.key_provider.load_private_key(key).expect("a key");
    // Not looked at whether they belong together.
    let pair = rustls::sign::CertifiedKey::new(vec![certificate], key);
    let pair = rustls::sign::SingleCertAndKey::from(pair);
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(pair));
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = listener.local_addr().expect("it has an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("accept");
            let mut tls = rustls::ServerConnection::new(config.clone()).expect("a connection");
            let mut tls = rustls::Stream::new(&mut tls, &mut stream);
            // A client that trusts it is told that the bucket is missing.
            if let Ok(1..) = tls.read(&mut [0; 4096]) {
                let reply =
                    "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                let _gone = tls.write_all(reply.as_bytes());
            }
        }
    });
    format!("https://localhost:{port}")
}

#[test]
fn a_certificate_that_nobody_vouches_for_ends_the_run_unless_it_is_trusted() {
    for (certificate, key) in [(CERTIFICATE, CERTIFICATE_KEY), (AUTHORITY, AUTHORITY_KEY)] {
        let scene = scene();
        let endpoint = untrusted(certificate, key);
        let other = scene.env.root.join("ca.pem");
        let secure = |command: &mut Command| {
            token(command);
            command.env("AWS_ENDPOINT_URL", &endpoint);
        };
        let says = ["cannot make a secure connection", "certificate", "AWS_CA_BUNDLE"];
        fails(&scene, 7, &up_to(&scene, PLACE), secure, &says);
        fs::write(&other, certificate).expect("write a file");
        let trusting = |command: &mut Command| {
            secure(command);
            command.env("AWS_CA_BUNDLE", &other);
        };
        fails(&scene, 7, &up_to(&scene, PLACE), trusting, &["no such bucket"]);
    }
}

/// A certificate is no secret: who shows it must have its key.
#[test]
fn a_trusted_certificate_without_its_key_ends_the_run() {
    for (certificate, key) in [(CERTIFICATE, AUTHORITY_KEY), (AUTHORITY, CERTIFICATE_KEY)] {
        let scene = scene();
        let endpoint = untrusted(certificate, key);
        let bundle = scene.env.root.join("ca.pem");
        fs::write(&bundle, certificate).expect("write a file");
        let impostor = |command: &mut Command| {
            token(command);
            command.env("AWS_ENDPOINT_URL", &endpoint).env("AWS_CA_BUNDLE", &bundle);
        };
        fails(&scene, 7, &up_to(&scene, PLACE), impostor, &["cannot make a secure connection"]);
    }
}

#[test]
fn a_connection_without_encryption_to_another_machine_is_refused() {
    let scene = scene();
    let elsewhere = |command: &mut Command| {
        token(command);
        command.env("AWS_ENDPOINT_URL", "http://192.0.2.1:9000");
    };
    fails(&scene, 6, &up_to(&scene, PLACE), elsewhere, &["not encrypted", "--allow-http"]);
}

#[test]
fn a_secret_in_a_location_is_refused_and_not_repeated() {
    let scene = scene();
    let endpoint = scene.server.endpoint();
    let with_password = endpoint.replace("http://", &format!("http://user:{PASSWORD}@"));
    let locations = [
        format!("s3://{ACCESS_KEY}:{PASSWORD}@bucket/p"),
        format!("s3://{PASSWORD}@bucket/p"),
        format!("s3://bucket/p?secret_access_key={PASSWORD}"),
        format!("s3://bucket/p?AWS_SECRET_ACCESS_KEY={PASSWORD}"),
        format!("s3://bucket/p?session_token={PASSWORD}"),
        format!("s3://bucket/p?token={PASSWORD}"),
        format!("s3://bucket/p?key={PASSWORD}"),
        format!("s3://bucket/p?X-Amz-Signature={PASSWORD}"),
        format!("s3://bucket/p?region=x&endpoint={with_password}"),
        format!("s3://bucket/p?endpoint={endpoint}?password={PASSWORD}"),
        format!("s3://bucket/p?whatever={PASSWORD}"),
        format!("S3://{ACCESS_KEY}:{PASSWORD}@bucket/p"),
        format!("https://{ACCESS_KEY}:{PASSWORD}@host/bucket"),
    ];
    for location in &locations {
        for arguments in [up_to(&scene, location), ["mirror", location, scene.target()]] {
            fails(&scene, 2, &arguments, token, &[]);
        }
        fails(&scene, 2, &["verify", location], token, &[]);
    }
    assert_eq!(scene.server.log().len(), 0, "nothing is sent");
    assert!(!scene.env.target.exists());
}

#[test]
fn a_password_in_an_endpoint_of_the_environment_is_refused_and_not_repeated() {
    let scene = scene();
    let with_password =
        scene.server.endpoint().replace("http://", &format!("http://user:{PASSWORD}@"));
    for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"] {
        let set = |command: &mut Command| {
            token(command);
            command.env(name, &with_password);
        };
        fails(&scene, 2, &up_to(&scene, PLACE), set, &[]);
    }
    let home = scene.env.root.join("home/.aws");
    fs::create_dir(&home).expect("make a directory");
    fs::write(home.join("config"), format!("[default]\nendpoint_url = {with_password}\n"))
        .expect("write a file");
    let of_profile = |command: &mut Command| {
        command.env_remove("AWS_ENDPOINT_URL");
    };
    fails(&scene, 2, &up_to(&scene, PLACE), of_profile, &[]);
}

#[test]
fn profiles_that_make_no_sense_do_not_give_their_secrets_away() {
    let secret = format!("aws_secret_access_key {PASSWORD}");
    let profiles = [
        format!("[default]\naws_access_key_id = X\n{secret}\n"),
        format!("[default\naws_access_key_id = X\naws_secret_access_key = {PASSWORD}\n"),
        format!("aws_secret_access_key = {PASSWORD}\n"),
        format!("[default]\naws_access_key_id =\naws_secret_access_key = {PASSWORD}\n"),
        format!("[default]\naws_access_key_id = X\naws_secret_access_key = {PASSWORD}\x01\n"),
        format!("[default]\naws_access_key_id = X\x01\naws_secret_access_key = {PASSWORD}\n"),
        format!("[default]\naws_access_key_id = X\naws_secret_access_key = {PASSWORD}\n"),
        format!("[default]\ncredential_process = sh -c 'echo {PASSWORD}; exit 0'\n"),
        format!(
            "[default]\ncredential_process = sh -c 'echo {PASSWORD}; echo {PASSWORD} >&2; exit 1'\n"
        ),
        format!(
            "[default]\ncredential_process = sh -c 'echo \"{{\\\"Version\\\":1,\\\"AccessKeyId\\\":\
             \\\"{PASSWORD}\\\"}}\"'\n"
        ),
        format!("[default]\ncredential_process = /nowhere/helper {PASSWORD}\n"),
    ];
    for profile in &profiles {
        let scene = scene();
        let home = scene.env.root.join("home/.aws");
        fs::create_dir(&home).expect("make a directory");
        for name in ["config", "credentials"] {
            fs::write(home.join(name), profile).expect("write a file");
        }
        for flags in [&[][..], &["-v"], &["--json", "-v"]] {
            let mut command = scene.command(&[&up_to(&scene, PLACE)[..], flags].concat());
            command.env_remove("AWS_SECRET_ACCESS_KEY").env_remove("AWS_ACCESS_KEY_ID");
            let run = Run::of(command).expect_one_of(&[2, 7]);
            let but = [".aws/config", ".aws/credentials"];
            assert_no_secret(&scene.env, &run, &but);
        }
    }
}

#[test]
fn secrets_that_no_header_can_hold_are_not_shown() {
    let scene = scene();
    for (name, value) in [
        ("AWS_SESSION_TOKEN", format!("{PASSWORD}\nx-evil: 1")),
        ("AWS_ACCESS_KEY_ID", format!("{PASSWORD}\nx-evil: 1")),
        ("AWS_SESSION_TOKEN", format!("{PASSWORD}\u{1}")),
    ] {
        let set = |command: &mut Command| {
            command.env(name, &value);
        };
        fails(&scene, 7, &up_to(&scene, PLACE), set, &[]);
    }
    assert!(scene.server.log().iter().all(|request| request.header("x-evil").is_none()));
}

/// A store may repeat what it was sent in its errors: S3 does, for a signature that doesn't match.
#[test]
fn what_a_store_repeats_of_a_request_is_not_shown() {
    let scene = scene();
    let body = format!(
        "<Error><Code>SignatureDoesNotMatch</Code><Message>no</Message><AWSAccessKeyId>{ACCESS_KEY}\
         </AWSAccessKeyId><StringToSign>canary</StringToSign><CanonicalRequest>\
         x-amz-security-token:{TOKEN}</CanonicalRequest></Error>"
    );
    scene.server.fail(On::any(), Fault::Reply(403, Vec::new(), body.into()));
    fails(&scene, 7, &up_to(&scene, PLACE), token, &["SignatureDoesNotMatch"]);
}

#[test]
fn entries_that_fail_show_no_secret() {
    for fault in [
        Fault::Status(403),
        Fault::Status(404),
        Fault::Status(409),
        Fault::Status(412),
        Fault::Status(418),
        Fault::Error(400, "EntityTooLarge"),
        Fault::Error(400, "BadDigest"),
        Fault::ErrorInOk("AccessDenied"),
        Fault::Reply(200, Vec::new(), "no etag".into()),
        Fault::Reply(302, vec![("location", "http://192.0.2.1/".into())], "".into()),
        Fault::Reset,
    ] {
        let scene = scene();
        scene.server.fail(On::first(Kind::Put, 3), fault.clone());
        // Ten tries of each would take minutes.
        scene.server.fail(On::every(Kind::Put).turns(4..=u64::MAX), Fault::Status(403));
        let arguments = ["mirror", "-v", "--json", scene.source(), PLACE];
        let mut command = scene.command(&arguments);
        token(&mut command);
        let run = Run::of(command);
        assert!([1, 5, 7].contains(&run.code()), "{fault:?}\n{}", run.told());
        assert_no_secret(&scene.env, &run, &[]);
    }
}

#[test]
fn a_run_that_goes_well_keeps_no_secret() {
    let scene = scene();
    for arguments in [
        &["mirror", "-v", "--json", scene.source(), PLACE][..],
        &["mirror", "-v", PLACE, scene.target()],
        &["mirror", "-v", "--dry-run", PLACE, "s3://other/q"],
        &["verify", "-v", "--json", PLACE],
    ] {
        let run = Run::of(scene.command(arguments)).expect(0);
        assert_no_secret(&scene.env, &run, &[]);
    }
    for object in scene.bucket.objects().values() {
        assert!(!format!("{object:?}").contains(CANARY));
    }
}

/// A redirect leads no signed request to another server.
#[test]
fn a_redirect_is_not_followed() {
    let scene = scene();
    let other = S3Server::start();
    other.bucket("bucket");
    for status in [301, 302, 303, 307, 308] {
        scene.server.heal();
        let location = format!("{}/bucket/p", other.endpoint());
        let reply = Fault::Reply(status, vec![("location", location)], "".into());
        scene.server.fail(On::any(), reply);
        let run = scene.up(&[]);
        assert!(run.code() == 7, "{status}\n{}", run.told());
    }
    assert_eq!(other.log().len(), 0);
}

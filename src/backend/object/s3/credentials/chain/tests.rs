use super::super::http::Ask;
use super::*;
use crate::backend::object::s3::settings::{Settings, resolve};
use crate::location::Location;
use parking_lot::Mutex;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::thread;

/// A service on this machine that replies to each request by its path and records requests.
struct Service {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Service {
    fn start(answer: impl Fn(&str) -> Option<String> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&requests);
        // The thread ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let head: Vec<String> =
                    lines.by_ref().map_while(Result::ok).take_while(|l| !l.is_empty()).collect();
                keep.lock().push(head.join("\n"));
                let path = head[0].split(' ').nth(1).unwrap();
                let (status, body) = match answer(path) {
                    Some(body) => ("200 OK", body),
                    None => ("404 Not Found", String::new()),
                };
                let length = body.len();
                write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}").ok();
            }
        });
        Self { address, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().clone()
    }
}

/// Makes a reply of the container's service, with the fields of instance metadata as well.
fn reply(id: &str) -> String {
    format!(
        r#"{{"Code":"Success","AccessKeyId":"{id}","SecretAccessKey":"hunter2","Token":"T",
            "Expiration":"2100-01-01T00:00:00Z"}}"#
    )
}

struct Home(tempfile::TempDir);

impl Home {
    fn new(config: &str, credentials: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join(".aws/sso/cache")).unwrap();
        std::fs::write(home.path().join(".aws/config"), config).unwrap();
        std::fs::write(home.path().join(".aws/credentials"), credentials).unwrap();
        Self(home)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn settings(&self, text: &str, variables: &[(&str, &str)]) -> Settings {
        let Location::S3(location) = Location::parse(OsStr::new(text)).unwrap() else { panic!() };
        let environment = |name: &str| {
            if name == "HOME" {
                return self.path().to_str().map(str::to_owned);
            }
            let found = variables.iter().find(|(variable, _)| *variable == name);
            // Tests must not query the metadata of the machine they run on.
            let nowhere = name == "AWS_EC2_METADATA_SERVICE_ENDPOINT";
            let nowhere = nowhere.then_some("http://127.0.0.1:1");
            found.map(|(_, value)| *value).or(nowhere).map(str::to_owned)
        };
        resolve(&location, &environment, false).unwrap()
    }

    /// Returns the id of the credentials found, or all of the error's text.
    fn found(&self, text: &str, variables: &[(&str, &str)]) -> String {
        match self.settings(text, variables).credentials().get() {
            Ok(None) => "anonymous".into(),
            Ok(Some(credential)) => credential.access_key().to_owned(),
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::Unusable);
                let text = format!("{error}; {}", error.help.clone().unwrap_or_default());
                assert!(!text.contains("hunter2"), "{text}");
                text
            }
        }
    }
}

const NO_METADATA: (&str, &str) = ("AWS_EC2_METADATA_DISABLED", "true");
const KEYS: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "ENV"),
    ("AWS_SECRET_ACCESS_KEY", "hunter2"),
    ("AWS_SESSION_TOKEN", "T"),
];

#[test]
fn keys_of_the_environment_hold_over_a_profile_unless_the_location_names_one() {
    let home = Home::new("", "[default]\naws_access_key_id=D\naws_secret_access_key=hunter2\n");
    assert_eq!(home.found("s3://bucket", &KEYS), "ENV");
    assert_eq!(home.found("s3://bucket", &[]), "D");
    assert_eq!(home.found("s3://bucket?profile=default", &KEYS), "D");
    assert_eq!(home.found("s3://bucket?anonymous=true", &KEYS), "anonymous");
    let text = home.found("s3://bucket", &KEYS[..1]);
    assert!(text.contains("AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not"), "{text}");
    let token = home.settings("s3://bucket", &KEYS).credentials().get().unwrap().unwrap();
    assert_eq!(token.token(), Some("T"));
    assert!(!format!("{:?}", home.settings("s3://bucket", &KEYS)).contains("hunter2"));
}

#[test]
fn without_credentials_it_says_where_it_looked() {
    let home = Home::new("[default]\nregion = x\n", "");
    let text = home.found("s3://bucket", &[NO_METADATA]);
    for words in [
        "no keys in the environment",
        "none in the profile \"default\" of ",
        ".aws/credentials or ",
        "no web identity",
        "none of a container",
        "instance metadata is disabled",
        "set AWS_ACCESS_KEY_ID",
        "?anonymous=true",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let text = home.found("s3://bucket?endpoint=http://localhost:1", &[]);
    assert!(text.contains("not used with a custom endpoint"), "{text}");
}

#[test]
fn a_service_of_metadata_that_does_not_answer_is_not_waited_for() {
    // It accepts connections and never replies.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let metadata = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", address.as_str())];
    let text = Home::new("", "").found("s3://bucket", &metadata);
    assert!(
        text.contains("no instance metadata (\"127.0.0.1\" did not answer within 1 s)"),
        "{text}"
    );
    listener.set_nonblocking(true).unwrap();
    assert_eq!(std::iter::from_fn(|| listener.accept().ok()).count(), 1, "it was asked again");
}

#[test]
fn an_instances_metadata_are_asked_last() {
    let service = Service::start(|path| match path {
        "/latest/api/token" => Some("METADATA-TOKEN".into()),
        "/latest/meta-data/iam/security-credentials/" => Some("role".into()),
        "/latest/meta-data/iam/security-credentials/role" => Some(reply("INSTANCE")),
        _ => None,
    });
    let metadata = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.address.as_str())];
    let home = Home::new("", "");
    assert_eq!(home.found("s3://bucket", &metadata), "INSTANCE");
    assert!(service.requests()[0].starts_with("PUT"));
    assert!(
        service.requests()[2].to_lowercase().contains("x-aws-ec2-metadata-token: metadata-token")
    );
    let both = [metadata[0], KEYS[0], KEYS[1]];
    assert_eq!(home.found("s3://bucket", &both), "ENV");
    assert_eq!(service.requests().len(), 3);
    let settings = home.settings("s3://bucket", &metadata);
    let credential = settings.credentials().get().unwrap().unwrap();
    assert_eq!((credential.secret(), credential.token()), ("hunter2", Some("T")));
}

#[test]
fn a_container_is_told_its_credentials() {
    let service = Service::start(|path| (path == "/creds").then(|| reply("CONTAINER")));
    let home = Home::new("", "");
    std::fs::write(home.path().join("token"), "TOKEN\n").unwrap();
    let (token, address) = (home.path().join("token"), format!("{}/creds", service.address));
    let variables = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", address.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.to_str().unwrap()),
    ];
    assert_eq!(home.found("s3://bucket", &variables), "CONTAINER");
    assert!(service.requests()[0].to_lowercase().contains("authorization: token"));
    // A configured source that fails ends the search.
    let wrong = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", service.address.as_str())];
    let text = home.found("s3://bucket", &wrong);
    assert!(text.contains("the container's credentials"), "{text}");
    let far = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.com/creds")];
    let text = home.found("s3://bucket", &far);
    assert!(text.contains("without encryption"), "{text}");
}

#[test]
fn a_profile_may_run_a_helper() {
    let helper = r#"printf '%s' '{"Version":1,"AccessKeyId":"HELPER","SecretAccessKey":"s"}'"#;
    let config = format!(
        "[profile h]\ncredential_process = {helper}\n\
         [profile broken]\ncredential_process = echo hunter2; exit 7\n"
    );
    let home = Home::new(&config, "");
    assert_eq!(home.found("s3://bucket?profile=h", &[]), "HELPER");
    assert_eq!(home.found("s3://bucket", &[("AWS_PROFILE", "h")]), "HELPER");
    let text = home.found("s3://bucket?profile=broken", &[]);
    assert!(text.contains("credential_process that failed (exit status: 7)"), "{text}");
}

#[test]
fn a_single_sign_on_is_a_section_or_part_of_the_profile() {
    let service = Service::start(|path| {
        let is_role = path.contains("role_name=Reader") && path.contains("account_id=123456789012");
        is_role.then(|| {
            r#"{"roleCredentials":{"accessKeyId":"SSO","secretAccessKey":"s","sessionToken":"t",
                "expiration":4102444800000}}"#
                .into()
        })
    });
    let role = "sso_account_id = 123456789012\nsso_role_name = Reader\n";
    let config = format!(
        "[profile new]\nsso_session = corp\n{role}\
         [sso-session corp]\nsso_region = eu-central-1\nsso_start_url = https://corp/start\n\
         [profile old]\nsso_region = eu-central-1\nsso_start_url = https://old/start\n{role}\
         [profile lost]\nsso_session = nobody\n{role}"
    );
    let home = Home::new(&config, "");
    let token = r#"{"accessToken":"SSO-TOKEN","expiresAt":"2100-01-01T00:00:00Z"}"#;
    // The files are named by the SHA-1 of "corp" and of "https://old/start".
    for name in
        ["ee0bfd2552fbd840c02cc48b6e823320543c450f", "85096cd4931eb1372a63d460a9c91b7600c9ba2b"]
    {
        std::fs::write(home.path().join(format!(".aws/sso/cache/{name}.json")), token).unwrap();
    }
    let variables = [("AWS_SSO_ENDPOINT", service.address.as_str())];
    assert_eq!(home.found("s3://bucket?profile=new", &variables), "SSO");
    assert!(service.requests()[0].contains("SSO-TOKEN"));
    assert_eq!(home.found("s3://bucket?profile=old", &variables), "SSO");
    let text = home.found("s3://bucket?profile=lost", &variables);
    assert!(text.contains("names an sso_session that does not exist"), "{text}");
    std::fs::remove_dir_all(home.path().join(".aws/sso")).unwrap();
    let text = home.found("s3://bucket?profile=new", &variables);
    assert!(text.contains("aws sso login --profile new"), "{text}");
}

#[test]
fn a_role_that_makes_no_sense_is_told() {
    let role = "role_arn = arn:aws:iam::123456789012:role/r\n";
    let config = format!(
        "[profile none]\n{role}\
         [profile both]\n{role}source_profile = none\ncredential_source = Environment\n\
         [profile lost]\n{role}source_profile = nobody\n\
         [profile one]\n{role}source_profile = two\n\
         [profile two]\n{role}source_profile = one\n\
         [profile mfa]\n{role}source_profile = none\nmfa_serial = x\n\
         [profile odd]\n{role}credential_source = Moon\n\
         [profile environment]\n{role}credential_source = Environment\n"
    );
    let home = Home::new(&config, "");
    for (profile, words) in [
        ("none", "needs one of source_profile and credential_source"),
        ("both", "needs one of source_profile and credential_source"),
        ("lost", "names the profile \"nobody\", which does not exist"),
        ("one", "assumes its role by means of itself"),
        ("mfa", "MFA device"),
        ("odd", "unknown credential_source"),
        ("environment", "has no credentials to assume its role with"),
    ] {
        let text = home.found(&format!("s3://bucket?profile={profile}"), &[NO_METADATA]);
        assert!(text.contains(words), "{profile}: {text}");
    }
}

/// AWS's token service, which replies to one kind of request.
#[derive(Clone, Debug)]
struct TokenService {
    status: u16,
    body: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl TokenService {
    fn granting(action: &str) -> Self {
        let body = format!(
            "<{action}Response><{action}Result><Credentials>\
             <AccessKeyId>ASIAROLE00000000</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
             <SessionToken>t</SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration>\
             </Credentials></{action}Result></{action}Response>"
        );
        Self { status: 200, body, requests: Arc::default() }
    }

    fn denying() -> Self {
        let body = "<ErrorResponse><Error><Code>AccessDenied</Code>\
                    <Message>not you\u{1b}</Message></Error></ErrorResponse>";
        Self { status: 403, body: body.into(), requests: Arc::default() }
    }

    /// Returns the id of the credentials that the settings find, or the error, and the request
    /// made.
    fn found(&self, settings: Settings) -> (String, String) {
        let chain = Chain::asking(settings.sources, settings.region, self.clone());
        let found = match chain.load() {
            Ok(loaded) => loaded.credential.access_key().to_owned(),
            Err(error) => error.message,
        };
        (found, self.requests.lock().join("\n"))
    }
}

impl Ask for TokenService {
    fn take_failure(&self) -> Option<String> {
        None
    }
}

impl reqsign_core::HttpSend for TokenService {
    async fn http_send(
        &self,
        request: ::http::Request<bytes::Bytes>,
    ) -> reqsign_core::Result<::http::Response<bytes::Bytes>> {
        let (head, body) = request.into_parts();
        let signed = head.headers.get("authorization").map(|value| value.to_str().unwrap());
        let requests = format!("{} {} {body:?}", head.uri, signed.unwrap_or("unsigned"));
        self.requests.lock().push(requests);
        let reply = ::http::Response::builder().status(self.status);
        Ok(reply.body(self.body.clone().into()).unwrap())
    }
}

#[test]
fn a_profile_may_take_a_role_with_the_keys_of_another() {
    let config = "[profile role]\nrole_arn = arn:aws:iam::123456789012:role/r\n\
                  source_profile = keys\nregion = eu-central-1\nexternal_id = ext\n\
                  [profile self]\nrole_arn = arn:aws:iam::123456789012:role/r\n\
                  source_profile = self\n";
    let keys = "aws_access_key_id = SOURCE\naws_secret_access_key = hunter2\n";
    let home = Home::new(config, &format!("[keys]\n{keys}[self]\n{keys}"));
    let service = TokenService::granting("AssumeRole");
    let (found, requests) = service.found(home.settings("s3://bucket?profile=role", &[]));
    assert_eq!(found, "ASIAROLE00000000");
    for words in [
        "https://sts.eu-central-1.amazonaws.com/",
        "RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fr",
        "RoleSessionName=vidimus",
        "ExternalId=ext",
        "Credential=SOURCE/",
        "/eu-central-1/sts/aws4_request",
    ] {
        assert!(requests.contains(words), "{words}: {requests}");
    }
    let (found, _) = service.found(home.settings("s3://bucket?profile=self", &[]));
    assert_eq!(found, "ASIAROLE00000000", "a profile's own keys may take its role");
    let (text, _) = TokenService::denying().found(home.settings("s3://bucket?profile=role", &[]));
    assert!(text.contains("cannot assume its role: AccessDenied: not you\\u{1b}"), "{text}");
}

#[test]
fn a_web_identity_is_of_the_environment_or_the_profile() {
    let home = Home::new(
        "[profile web]\nrole_arn = arn:aws:iam::123456789012:role/p\n\
         web_identity_token_file = ~/jwt\nrole_session_name = me\n",
        "",
    );
    let file = home.path().join("jwt");
    std::fs::write(&file, "JWT\n").unwrap();
    let variables = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file.to_str().unwrap()),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/e"),
        ("AWS_REGION", "eu-west-1"),
    ];
    let service = TokenService::granting("AssumeRoleWithWebIdentity");
    let (found, requests) = service.found(home.settings("s3://bucket", &variables));
    assert_eq!(found, "ASIAROLE00000000");
    assert!(requests.contains("https://sts.eu-west-1.amazonaws.com/ unsigned"), "{requests}");
    assert!(requests.contains("role%2Fe&WebIdentityToken=JWT&"), "{requests}");
    let (_, requests) = service.found(home.settings("s3://bucket?profile=web", &[]));
    assert!(requests.contains("role%2Fp") && requests.contains("RoleSessionName=me"), "{requests}");
    let (text, _) = TokenService::denying().found(home.settings("s3://bucket", &variables));
    assert!(text.contains("AWS_WEB_IDENTITY_TOKEN_FILE: AccessDenied"), "{text}");
}

use super::*;
use crate::location::Location;
use std::ffi::OsStr;

/// Resolves a location with variables and the two files of a home directory.
struct Given<'a> {
    variables: &'a [(&'a str, &'a str)],
    config: &'a str,
    credentials: &'a str,
}

impl Given<'_> {
    fn resolve(&self, text: &str, allow_http: bool) -> Result<Settings, Error> {
        let Location::S3(location) = Location::parse(OsStr::new(text)).unwrap() else {
            panic!("{text}");
        };
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        std::fs::write(home.path().join(".aws/config"), self.config).unwrap();
        std::fs::write(home.path().join(".aws/credentials"), self.credentials).unwrap();
        let environment = |name: &str| {
            if name == "HOME" {
                return home.path().to_str().map(str::to_owned);
            }
            let set = self.variables.iter().find(|(variable, _)| *variable == name);
            set.map(|(_, value)| (*value).to_owned())
        };
        resolve(&location, &environment, allow_http)
    }
}

fn with<'a>(variables: &'a [(&'a str, &'a str)], config: &'a str) -> Given<'a> {
    Given { variables, config, credentials: "" }
}

fn endpoint_of(given: &Given<'_>, text: &str) -> Option<String> {
    given.resolve(text, false).unwrap().endpoint
}

#[test]
fn without_any_setting_it_is_aws() {
    let settings = with(&[], "").resolve("s3://bucket/p", false).unwrap();
    assert_eq!((settings.endpoint, settings.ca_file), (None, None));
    assert_eq!(settings.region, "us-east-1");
    assert!(!settings.path_style && !settings.anonymous);
}

#[test]
fn the_endpoint_that_stands_nearest_holds() {
    let config = "[default]\nservices = s\nendpoint_url = https://profile\n\
                  [services s]\ns3 =\n  endpoint_url = https://service\n";
    let all = [("AWS_ENDPOINT_URL_S3", "https://s3"), ("AWS_ENDPOINT_URL", "https://all")];
    let is = |expected: &str| Some(format!("https://{expected}"));
    let typed = "s3://bucket/p?endpoint=https://typed";
    assert_eq!(endpoint_of(&with(&all, config), typed), is("typed"));
    assert_eq!(endpoint_of(&with(&all, config), "s3://bucket/p"), is("s3"));
    assert_eq!(endpoint_of(&with(&all[1..], config), "s3://bucket/p"), is("all"));
    assert_eq!(endpoint_of(&with(&[], config), "s3://bucket/p"), is("service"));
    let without_services = &config.replace("services = s\n", "");
    assert_eq!(endpoint_of(&with(&[], without_services), "s3://bucket/p"), is("profile"));
    let empty = [("AWS_ENDPOINT_URL_S3", ""), ("AWS_ENDPOINT_URL", "")];
    assert_eq!(endpoint_of(&with(&empty, ""), "s3://bucket/p"), None, "empty is not set");
}

#[test]
fn configured_endpoints_can_be_ignored_but_not_a_typed_one() {
    let variables =
        [("AWS_ENDPOINT_URL", "https://all"), ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")];
    let config = "[default]\nendpoint_url = https://profile\n";
    let given = with(&variables, config);
    assert_eq!(endpoint_of(&given, "s3://bucket/p"), None);
    let typed = endpoint_of(&given, "s3://bucket/p?endpoint=https://typed");
    assert_eq!(typed.as_deref(), Some("https://typed"));
    let config = "[default]\nendpoint_url = https://p\nignore_configured_endpoint_urls = TRUE\n";
    assert_eq!(endpoint_of(&with(&[], config), "s3://bucket/p"), None);
}

#[test]
fn the_region_that_stands_nearest_holds() {
    let all = [("AWS_REGION", "one"), ("AWS_DEFAULT_REGION", "two")];
    let config = "[default]\nregion = three\n";
    let region = |given: Given<'_>, text: &str| given.resolve(text, false).unwrap().region;
    assert_eq!(region(with(&all, config), "s3://bucket?region=typed"), "typed");
    assert_eq!(region(with(&all, config), "s3://bucket"), "one");
    assert_eq!(region(with(&all[1..], config), "s3://bucket"), "two");
    assert_eq!(region(with(&[], config), "s3://bucket"), "three");
    let wrong = with(&[("AWS_REGION", "eu/x")], "").resolve("s3://bucket", false);
    assert_eq!(wrong.unwrap_err().kind, ErrorKind::Usage);
}

#[test]
fn a_profile_is_typed_or_set_and_must_exist() {
    let config = "[default]\nregion = d\n[profile a]\nregion = a\n[profile b]\nregion = b\n";
    let variables = [("AWS_PROFILE", "a"), ("AWS_DEFAULT_PROFILE", "b")];
    let region = |given: &Given<'_>, text: &str| given.resolve(text, false).unwrap().region;
    assert_eq!(region(&with(&variables, config), "s3://bucket?profile=b"), "b");
    assert_eq!(region(&with(&variables, config), "s3://bucket"), "a");
    assert_eq!(region(&with(&variables[1..], config), "s3://bucket"), "b");
    assert_eq!(region(&with(&[], config), "s3://bucket"), "d");
    let error = with(&[("AWS_PROFILE", "c")], config).resolve("s3://bucket", false).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unusable);
    assert_eq!(error.message, "there is no profile \"c\"");
    assert!(
        error.help.unwrap().to_string().contains(".aws/credentials or "),
        "the files are named"
    );
}

#[test]
fn files_may_stand_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cfg");
    std::fs::write(&path, "[default]\nregion = elsewhere\n").unwrap();
    let variables = [("AWS_CONFIG_FILE", path.to_str().unwrap())];
    let settings = with(&variables, "[default]\nregion = home\n").resolve("s3://bucket", false);
    assert_eq!(settings.unwrap().region, "elsewhere");
    let variables = [("AWS_CA_BUNDLE", "~/ca.pem")];
    let settings = with(&variables, "").resolve("s3://bucket", false).unwrap();
    assert!(settings.ca_file.unwrap().ends_with("ca.pem"));
}

#[test]
fn the_bucket_stands_in_the_path_where_it_makes_no_host() {
    for (text, config, expected) in [
        ("s3://bucket", "", false),
        ("s3://my.bucket", "", true),
        ("s3://Bucket", "", true),
        ("s3://buck_et", "", true),
        ("s3://my.bucket?path_style=false", "", false),
        ("s3://bucket?path_style=true", "", true),
        ("s3://bucket?endpoint=http://localhost:9000", "", true),
        ("s3://bucket?endpoint=http://localhost:9000&path_style=false", "", false),
        ("s3://bucket?endpoint=https://s3.eu-1.amazonaws.com", "", false),
        ("s3://bucket?endpoint=https://s3.cn-north-1.amazonaws.com.cn", "", false),
        ("s3://bucket?endpoint=https://notamazonaws.com", "", true),
        ("s3://bucket", "[default]\ns3 =\n addressing_style = path\n", true),
        ("s3://bucket?endpoint=https://h", "[default]\ns3 =\n addressing_style = virtual\n", false),
    ] {
        let settings = with(&[], config).resolve(text, false).unwrap();
        assert_eq!(settings.path_style, expected, "{text} {config}");
    }
}

#[test]
fn what_is_not_encrypted_stays_on_this_machine_unless_allowed() {
    for endpoint in ["localhost:9000", "127.0.0.1", "127.9.9.9:1", "[::1]:9000"] {
        let text = format!("s3://bucket?endpoint=http://{endpoint}");
        assert!(with(&[], "").resolve(&text, false).is_ok(), "{endpoint}");
    }
    for endpoint in ["minio:9000", "10.0.0.1", "localhost.example.com", "[::2]", "127.0.0.1.nip.io"]
    {
        let text = format!("s3://bucket?endpoint=http://{endpoint}");
        let error = with(&[], "").resolve(&text, false).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused, "{endpoint}");
        assert!(error.help.unwrap().to_string().contains("`allow_http`"));
        assert!(with(&[], "").resolve(&text, true).is_ok(), "{endpoint}");
    }
    let error = with(&[("AWS_ENDPOINT_URL", "http://h")], "").resolve("s3://bucket", false);
    assert!(error.unwrap_err().message.contains("AWS_ENDPOINT_URL"), "it says where it is set");
}

#[test]
fn no_secret_is_told() {
    let variables =
        [("AWS_ENDPOINT_URL", "https://me:hunter2@host"), ("AWS_SECRET_ACCESS_KEY", "hunter2")];
    let error = with(&variables, "").resolve("s3://bucket", false).unwrap_err();
    assert!(!format!("{error:?}").contains("hunter2"));
    assert!(error.message.contains("AWS_ENDPOINT_URL"), "{error}");
    let variables = Variables::take(&|name| (name != "HOME").then(|| "hunter2".to_owned()));
    assert!(!format!("{variables:?}").contains("hunter2"));
    assert_eq!(variables.expand("~/x"), None);
}

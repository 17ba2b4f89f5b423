//! Real servers for tests, each a child of this process. `tests/servers.sh` installs them on first
//! use; a test that can't have one is skipped: `needs!(SeaweedFs::shared())`.

use super::clients;
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The access key that servers accept. Key and secret are recognisable, so that leaks can be found.
pub const ACCESS_KEY: &str = "VIDIMUSCANARYKEY";

/// The secret of [`ACCESS_KEY`].
pub const SECRET_KEY: &str = "canary/secret+that/must/never/be/shown";

/// The region that requests are signed for.
pub const REGION: &str = "us-east-1";

/// The longest time for a server to answer, even if tests keep all processors busy.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// Attempts to start a server: another process may take a port between its choice and its use.
const TRIES: u32 = 3;

/// Returns the variables that configure an S3 client for an endpoint, with the servers' keys.
pub fn environment(endpoint: &str) -> Vec<(&'static str, String)> {
    [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ("AWS_REGION", REGION),
        // No client may ask for credentials over the network.
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into()
}

/// Returns the directory of what `tests/servers.sh` installs, after installing it if needed.
pub fn installed() -> Result<&'static Path, String> {
    static INSTALLED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let install = || install("tests/servers.sh").map(|()| directory().join("venv"));
    INSTALLED.get_or_init(install).as_deref().map_err(String::clone)
}

/// Returns the directory of what `tests/bagit.sh` installs, after installing it if needed.
pub(super) fn bagit() -> Result<&'static Path, String> {
    static INSTALLED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let install = || install("tests/bagit.sh").map(|()| directory().join("bagit"));
    INSTALLED.get_or_init(install).as_deref().map_err(String::clone)
}

/// Returns the program that `tests/b3sum.sh` installs, after installing it if needed.
pub(super) fn b3sum() -> Result<PathBuf, String> {
    static INSTALLED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let install = || install("tests/b3sum.sh").map(|()| directory().join("b3sum/bin/b3sum"));
    INSTALLED.get_or_init(install).clone()
}

/// Runs a script that installs something.
fn install(script: &str) -> Result<(), String> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let run = Command::new(home.join(script)).stdin(Stdio::null()).output();
    let run = run.map_err(|error| format!("{script}: {error}"))?;
    if run.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    Err(said.lines().last().map_or_else(|| format!("{script} failed"), str::to_owned))
}

/// Returns the directory in which these scripts install.
fn directory() -> PathBuf {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    home.join(std::env::var_os("VIDIMUS_TEST_SERVERS").unwrap_or("target/test-servers".into()))
}

/// Returns a program that `tests/servers.sh` installs.
pub(super) fn program(name: &str) -> Result<PathBuf, String> {
    Ok(installed()?.join("bin").join(name))
}

/// `SeaweedFS` with its S3 gateway. Its keys are paths: it lists `a/b` before `a-b`, stores `c//d`
/// as `c/d` and `/e` as `e`, and refuses `./f`. It can have both `a` and `a/b`.
#[derive(Debug)]
pub struct SeaweedFs;

impl SeaweedFs {
    /// Starts one.
    pub fn start() -> Result<Server, String> {
        Server::start("seaweedfs", seaweedfs)
    }

    /// Returns the server that all tests of this binary share; each makes its own buckets.
    pub fn shared() -> Result<&'static Server, String> {
        static SHARED: OnceLock<Result<Server, String>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref().map_err(String::clone)
    }
}

/// `rclone serve s3` with a directory. It refuses `c//d`, `/e` and `./f` and lists `i/` as `i`; if
/// there is `a/b`, a failed PUT of `a` hides it.
#[derive(Debug)]
pub struct RcloneServe;

impl RcloneServe {
    /// Starts one.
    pub fn start() -> Result<Server, String> {
        Server::start("rclone", rclone)
    }

    /// Returns the server that all tests of this binary share; each makes its own buckets.
    pub fn shared() -> Result<&'static Server, String> {
        static SHARED: OnceLock<Result<Server, String>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref().map_err(String::clone)
    }
}

/// How a server is started, and how to find out that it is ready.
struct Plan {
    command: Command,
    /// The port that speaks S3.
    port: u16,
    /// Ports, paths to get, and text that the reply must contain.
    ready: Vec<(u16, &'static str, &'static str)>,
}

fn seaweedfs(data: &Path, ports: &[u16; 8]) -> Result<Plan, String> {
    let keys = format!(
        r#"{{"identities": [{{"name": "test", "actions": ["Admin", "Read", "Write", "List"],
        "credentials": [{{"accessKey": "{ACCESS_KEY}", "secretKey": "{SECRET_KEY}"}}]}}]}}"#
    );
    let configuration = data.join("s3.json");
    std::fs::write(&configuration, keys).map_err(|error| error.to_string())?;
    let mut command = dying_with_us(&program("weed")?);
    command.args(["server", "-filer", "-s3", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]);
    command.args(["-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=100"]);
    command.args(["-s3.port.iceberg=0", "-s3.port.lance=0"]);
    let names = [
        "s3.port",
        "s3.port.grpc",
        "master.port",
        "master.port.grpc",
        "volume.port",
        "volume.port.grpc",
        "filer.port",
        "filer.port.grpc",
    ];
    command.args(names.iter().zip(ports).map(|(name, port)| format!("-{name}={port}")));
    command.arg(format!("-s3.config={}", configuration.display()));
    command.arg(format!("-dir={}", data.display()));
    // The server answers before it can store anything.
    let ready = vec![(ports[0], "/healthz", " 200 "), (ports[2], "/dir/assign", "\"fid\"")];
    Ok(Plan { command, port: ports[0], ready })
}

fn rclone(data: &Path, ports: &[u16; 8]) -> Result<Plan, String> {
    let served = data.join("buckets");
    std::fs::create_dir(&served).map_err(|error| error.to_string())?;
    let mut command = dying_with_us(&program("rclone")?);
    command.args(["serve", "s3", "--config", "", "--addr", &format!("127.0.0.1:{}", ports[0])]);
    command.args(["--auth-key", &format!("{ACCESS_KEY},{SECRET_KEY}")]).arg(served);
    Ok(Plan { command, port: ports[0], ready: vec![(ports[0], "/", "HTTP/1.")] })
}

/// A server that runs until it is dropped or this process ends.
#[derive(Debug)]
pub struct Server {
    child: Child,
    data: PathBuf,
    port: u16,
    buckets: AtomicU64,
}

impl Server {
    fn start(
        name: &str,
        plan: impl Fn(&Path, &[u16; 8]) -> Result<Plan, String>,
    ) -> Result<Self, String> {
        installed()?;
        let mut failed = String::new();
        for _ in 0..TRIES {
            let ports = free_ports();
            let data = data_directory(name, &ports)?;
            let server = Self::run(plan(&data, &ports)?, data)?;
            match server {
                Ok(server) => return Ok(server),
                Err(said) => failed = said,
            }
        }
        Err(format!("{name} does not start: {failed}"))
    }

    /// Starts a server and waits until it is ready; the inner error is its last line if it ends
    /// instead.
    fn run(mut plan: Plan, data: PathBuf) -> Result<Result<Self, String>, String> {
        let log = data.join("log");
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        let output = File::create(&log).map_err(|error| error.to_string())?;
        let errors = output.try_clone().map_err(|error| error.to_string())?;
        plan.command.env_clear().env("HOME", &data).env("TMPDIR", &data);
        plan.command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        plan.command.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
        let child = spawn(plan.command).map_err(|error| error.to_string())?;
        let mut server = Self { child, data, port: plan.port, buckets: AtomicU64::new(0) };
        let begun = Instant::now();
        for (port, path, reply) in plan.ready {
            while !probe(port, path).is_some_and(|text| text.contains(reply)) {
                if let Ok(Some(status)) = server.child.try_wait() {
                    let said = said();
                    return Ok(Err(format!("{status}: {}", said.lines().last().unwrap_or("?"))));
                }
                if begun.elapsed() > START_TIMEOUT {
                    return Err(format!("no answer after {START_TIMEOUT:?}: {}", said()));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(Ok(server))
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the variables that configure a child process for this server.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        environment(&self.endpoint())
    }

    /// Makes a bucket with a new name, and returns the name.
    pub fn bucket(&self) -> String {
        let bucket = format!("bucket-{}", self.buckets.fetch_add(1, Ordering::Relaxed));
        let mut make = clients::rclone(&self.endpoint()).expect("rclone came with the server");
        let made = make.args(["mkdir", &format!("s3:{bucket}")]).output().expect("run rclone");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        bucket
    }

    /// Returns the server's output so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data.join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        self.child.wait().expect("wait for a child");
        clear(&self.data);
    }
}

/// Returns a command whose process is killed when the thread that spawned it ends: statics are
/// never dropped, and neither is anything else when a test is killed.
fn dying_with_us(program: &Path) -> Command {
    let Ok(setpriv) = super::tools::tool("setpriv") else { return Command::new(program) };
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Spawns a child from a thread that lives as long as this process, unlike the threads of tests.
fn spawn(mut command: Command) -> std::io::Result<Child> {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _received = sender.send(command.spawn());
        loop {
            std::thread::park();
        }
    });
    receiver.recv().expect("the thread sends before it parks")
}

/// Makes a directory for a server's data, named after this process. Directories of processes that
/// have ended are removed.
fn data_directory(name: &str, ports: &[u16; 8]) -> Result<PathBuf, String> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let parent = directory().join("data");
    std::fs::create_dir_all(&parent).map_err(|error| error.to_string())?;
    for entry in std::fs::read_dir(&parent).map_err(|error| error.to_string())?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(pid).exists() {
            clear(&entry.path());
        }
    }
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let data = parent.join(format!("{}-{number}-{name}", std::process::id()));
    std::fs::create_dir(&data).map_err(|error| error.to_string())?;
    let ports = ports.map(|port| port.to_string()).join(" ");
    std::fs::write(data.join("ports"), ports).map_err(|error| error.to_string())?;
    Ok(data)
}

/// Removes a server's data, and the sockets named after its ports that `SeaweedFS` leaves in /tmp.
/// Other processes may do the same at the same time, so errors are ignored.
fn clear(data: &Path) {
    let ports = std::fs::read_to_string(data.join("ports")).unwrap_or_default();
    for socket in std::fs::read_dir("/tmp").into_iter().flatten().flatten() {
        let name = socket.file_name().to_string_lossy().into_owned();
        let of =
            |port: &str| name.starts_with("seaweedfs-") && name.ends_with(&format!("-{port}.sock"));
        if ports.split(' ').any(of) {
            let _gone = std::fs::remove_file(socket.path());
        }
    }
    let _gone = std::fs::remove_dir_all(data);
}

/// Returns free ports. All are bound until the last is found, so that they are different.
fn free_ports() -> [u16; 8] {
    let held: [TcpListener; 8] =
        std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("find a free port"));
    held.map(|listener| listener.local_addr().expect("a listener has an address").port())
}

/// Returns the reply to a plain GET, if there is one.
fn probe(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nhost: 127.0.0.1\r\n\r\n").ok()?;
    let mut reply = Vec::new();
    // The part before a reset or a timeout may suffice.
    let _cut = stream.read_to_end(&mut reply);
    Some(String::from_utf8_lossy(&reply).into_owned())
}

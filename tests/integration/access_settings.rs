//! A node that is reached from elsewhere by a token and a fingerprint alone, that changes what it can while it runs, and whose log a
//! program reads.

use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::harness::{Ran, TestProcess, folder, program, ran, synapsenet, wait_for, within};

/// The program for somebody whose home is `home`, with nothing of what the user of the tests has set.
fn at_home(home: &Path, environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_synapsenet-under-test"));
    command.env_clear().envs(std::env::vars().filter(|(name, _)| name == "PATH" || name == "ORT_DYLIB_PATH"));
    command.env("HOME", home).envs(environment.iter().copied()).kill_on_drop(true);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn from_elsewhere_a_token_and_a_fingerprint_are_all_that_is_needed() {
    let (dir, home) = (folder(), folder());
    let node = TestProcess::start_with(dir.path(), &[], &[("SYNAPSENET_API__TLS", "always")]).await;
    let address = node.ready["api"][1].as_str().unwrap().to_owned();
    assert!(address.starts_with("https://127.0.0.1:"), "{address}");
    let fingerprint = node.ready["api_fingerprint"].as_str().unwrap().to_owned();
    assert_eq!(node.status().await.api_fingerprint, fingerprint);
    let made = synapsenet(dir.path(), &["token", "create", "there", "--scope", "write"]).await.ended_with(0);
    assert!(made.err.contains(&fingerprint), "{}", made.err);
    let token = home.path().join("token");
    std::fs::write(&token, &made.out).unwrap();

    let token = token.to_str().unwrap();
    let known = [
        ("SYNAPSENET_API", address.as_str()),
        ("SYNAPSENET_API_TOKEN_FILE", token),
        ("SYNAPSENET_API_FINGERPRINT", fingerprint.as_str()),
    ];
    let there = async |environment: &[(&str, &str)], arguments: &[&str]| -> Ran {
        ran(at_home(home.path(), environment), arguments, "").await
    };
    there(&known, &["add", "Written from elsewhere."]).await.ended_with(0);
    let found = there(&known, &["search", "elsewhere", "--json"]).await.ended_with(0);
    assert_eq!(found.records()[0]["text"], "Written from elsewhere.");
    let with_options = [
        "id",
        "--api",
        &address,
        "--api-token-file",
        token,
        "--api-fingerprint",
        &fingerprint.to_uppercase(),
    ];
    there(&[], &with_options).await.ended_with(0);

    // Another certificate is another's, whoever vouches for it; none at all is no reason to say the token.
    let other = fingerprint.chars().rev().collect::<String>();
    let wrong = [known[0], known[1], ("SYNAPSENET_API_FINGERPRINT", other.as_str())];
    there(&wrong, &["id"]).await.ended_with(3).assert_told("no secure connection", "--api-fingerprint");
    there(&known[..2], &["id"]).await.ended_with(2).assert_told("certificate", "--api-fingerprint");
    let plain = address.replace("https", "http");
    let plain = [("SYNAPSENET_API", plain.as_str()), known[1], known[2]];
    there(&plain, &["id"]).await.ended_with(2).assert_told("no certificate", "https://");

    // The certificate stays when the node starts again.
    node.stop().await;
    let node = TestProcess::start_with(dir.path(), &[], &[("SYNAPSENET_API__TLS", "always")]).await;
    assert_eq!(node.ready["api_fingerprint"], *fingerprint);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_changed_while_it_runs_is_and_what_cannot_is_said() {
    let dir = folder();
    let file = dir.path().join("config.toml");
    let write = |level: &str, calls: u64, author: u64, rest: &str| {
        let text = format!(
            "[log]\nlevel = \"{level}\"\nformat = \"json\"\n[api]\nmax_calls = {calls}\n[admission]\nauthor_grains = \
             {author}\n{rest}"
        );
        std::fs::write(&file, text).unwrap();
    };
    write("info", 9, 1000, "");
    let node = TestProcess::start(dir.path()).await;
    let made = synapsenet(dir.path(), &["token", "create", "gone"]).await.ended_with(0);
    let at = node.ready["api"][1].as_str().unwrap().to_owned();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, &made.out).unwrap();
    let asked = async || {
        let secret = secret.to_str().unwrap();
        synapsenet(dir.path(), &["status", "--api", &at, "--api-token-file", secret]).await
    };
    asked().await.ended_with(0);

    std::fs::write(dir.path().join("tokens.json"), "[]").unwrap();
    write("warn,synapsenet=debug", 11, 77, "[storage]\nhnsw_ef_search = 97\n");
    node.signal(Signal::HUP);
    node.logged("these settings need a restart").await;
    for words in [
        "\"key\":\"admission.author_grains\",\"before\":\"1000\",\"now\":\"77\"",
        "\"key\":\"api.max_calls\",\"before\":\"9\",\"now\":\"11\"",
        "\"key\":\"log.level\"",
        "\"keys\":\"storage.hnsw_ef_search\"",
        "\"closed\":1",
    ] {
        node.logged(words).await;
    }
    asked().await.ended_with(4).assert_told("no token", "token create");

    // The next time, it is told what changed since; what waits is held against the start.
    write("error", 11, 77, "[storage]\nhnsw_ef_search = 97\n");
    node.signal(Signal::HUP);
    node.logged("\"before\":\"\\\"warn,synapsenet=debug\\\"\",\"now\":\"\\\"error\\\"\"").await;
    // What is no configuration changes nothing, and is told at the level that holds now.
    std::fs::write(&file, "[log").unwrap();
    node.signal(Signal::HUP);
    node.logged("the configuration is left as it was").await;
    let (status, log) = node.stop().await;
    assert!(status.success(), "{log}");
    assert_eq!(log.matches("api.max_calls").count(), 1, "{log}");
    assert!(!log.contains("\"stopped\""), "only errors are told any more: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_told_to_write_more_to_its_log_until_its_configuration_is_read_anew() {
    let dir = folder();
    std::fs::write(dir.path().join("config.toml"), "[log]\nlevel = \"error\"\n").unwrap();
    let node = TestProcess::start(dir.path()).await;
    let level = async |arguments: &[&str]| {
        synapsenet(dir.path(), &[&["log", "--json"], arguments].concat()).await.ended_with(0).record()
    };
    assert_eq!(level(&[]).await["level"], "error");
    for wrong in ["inof", "synapsenet=loud", ""] {
        synapsenet(dir.path(), &["log", wrong]).await.ended_with(2).assert_told("level", "");
    }
    let more = "warn,synapsenet=info";
    let set = level(&[more]).await;
    assert_eq!((&set["level"], &set["before"]), (&Value::from(more), &Value::from("error")));
    assert_eq!(level(&[]).await["level"], more);
    assert_eq!(node.status().await.log_level, more);
    let shown = synapsenet(dir.path(), &["status"]).await.ended_with(0);
    assert!(shown.out.contains(more), "{}", shown.out);

    // It is written by the new filter, and then by the configuration again.
    synapsenet(dir.path(), &["token", "create", "gone"]).await.ended_with(0);
    std::fs::write(dir.path().join("tokens.json"), "[]").unwrap();
    node.signal(Signal::HUP);
    node.logged("the tokens were read anew").await;
    wait_for("the level of the configuration", async || level(&[]).await["level"] == "error").await;
    let (_, log) = node.stop().await;
    assert!(!log.contains("stopping"), "only errors are told any more: {log}");
    let audit = std::fs::read_to_string(dir.path().join("audit.log")).unwrap();
    let lines = audit.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let set: Vec<Value> = lines.filter(|line| line["call"] == "NodeService/SetLogLevel").collect();
    assert!(set.iter().any(|line| line["about"] == more && line["outcome"] == "OK"), "{audit}");
    assert!(
        set.iter().any(|line| line["about"] == "inof" && line["outcome"] == "INVALID_ARGUMENT"),
        "{audit}"
    );

    // What is no level in the configuration is told before the node starts.
    std::fs::write(dir.path().join("config.toml"), "[log]\nlevel = \"inof\"\n").unwrap();
    let refused = synapsenet(dir.path(), &["run", "--offline"]).await.ended_with(2);
    refused.assert_told("log.level", "");
    assert!(refused.err.contains("\"inof\" is no level"), "{}", refused.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_json_is_json_from_the_first_line_to_the_last() {
    let dir = folder();
    let environment = [("SYNAPSENET_LOG__FORMAT", "json"), ("SYNAPSENET_LOG__LEVEL", "debug")];
    let arguments =
        ["run", "--offline", "--api-listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--quiet"];
    // With the banner that people see, and as scripts start it.
    for arguments in [&arguments[..6], &[&arguments[..6], &["--json"][..]].concat(), &arguments[..]] {
        let mut command = program(dir.path(), &environment);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let pid = Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
        let output = tokio::spawn(child.wait_with_output());
        wait_for("the socket", async || synapsenet(dir.path(), &["status"]).await.code == 0).await;
        kill_process(pid, Signal::TERM).unwrap();
        let output = within("its end", output).await.unwrap().unwrap();
        assert!(output.status.success());
        let text = [output.stderr, output.stdout].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}")))
            .collect();
        assert!(lines.len() > 2 && lines.iter().any(|line| line["fields"]["message"] == "ready"), "{text}");
    }

    // So is why it does not start, once it is known how it is to be told.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let failed =
        ran(program(dir.path(), &environment), &["run", "--offline", "--api-listen", &address], "").await;
    for line in failed.ended_with(1).err.lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_text_comes_with_its_banner() {
    let dir = folder();
    let mut command = program(dir.path(), &[]);
    command.args(["run", "--offline", "--api-listen", "", "--metrics-listen", ""]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = within("the banner", lines.next_line()).await.unwrap().unwrap();
    assert!(first.contains("is ready"), "{first}");
}

use super::*;

fn parse(text: &str) -> (Option<Config>, Diagnostics, Files) {
    let mut files = Files::default();
    let file = files.add("palisade.yaml", text);
    let (config, diagnostics) = Config::parse(&files, file);
    (config, diagnostics, files)
}

fn good(text: &str) -> Config {
    let (config, diagnostics, files) = parse(text);
    assert!(diagnostics.is_empty(), "{}", diagnostics.render(&files, false));
    config.unwrap()
}

#[test]
fn nothing_written_is_valid() {
    for text in [
        "",
        "# a comment\n",
        "---\n",
        "{}\n",
        "host:\nflows: {}\nfailsafes: ~\n",
    ] {
        assert_eq!(good(text), Config::default(), "{text:?}");
    }
    let config = Config::default();
    assert_eq!(config.node, nix::unistd::gethostname().unwrap().to_str().unwrap());
    assert_eq!(config.policy_dir, Path::new("/etc/palisade/policy.d"));
    assert_eq!(config.flows.interval, Duration::from_secs(10));
    assert!(config.safety_net && !config.filter_loopback && !config.protect_table);
}

#[test]
fn everything_written() {
    let config = good(
        "\
node: db-1
host: {labels: {env: prod}}
policyDir: /p
stateDir: /s
socket: /run/x.sock
safetyNet: false
filterLoopback: true
protectTable: true
denyAction: reject
failsafes:
  preset: calico
  inbound: [tcp:2222, 'tcp:[fd00::/8]:22']
flows:
  file: /f.jsonl
  interval: 500ms
  includeAddresses: true
  nflogGroup: 4242
  accounting: false
  owners: false
  records: all
  rotate: {size: 64K, every: none, keep: 3, compress: false}
  bytesPerDay: none
  journald: true
  stdout: true
  prometheus: {listen: '[::1]:9757'}
  otlp: {endpoint: 'http://collector:4318/otel', timeout: 3s}
",
    );
    assert_eq!(config.node, "db-1");
    assert_eq!(config.host_labels["env"], "prod");
    assert_eq!((config.policy_dir, config.state_dir), ("/p".into(), "/s".into()));
    assert_eq!(config.socket, Path::new("/run/x.sock"));
    assert!(!config.safety_net && config.filter_loopback && config.protect_table);
    assert_eq!(config.deny_action, DenyAction::Reject);
    let inbound = config.failsafes.inbound.iter().map(ToString::to_string);
    assert_eq!(inbound.collect::<Vec<_>>(), ["tcp:2222", "tcp:[fd00::/8]:22"]);
    assert_eq!(config.failsafes.outbound, Failsafes::calico().outbound);
    let flows = FlowsConfig {
        interval: Duration::from_millis(500),
        include_addresses: true,
        nflog_group: 4242,
        accounting: false,
        owners: false,
        prometheus: Some("[::1]:9757".parse().unwrap()),
        sinks: SinksConfig {
            records: Taken::All,
            file: Some("/f.jsonl".into()),
            rotate: RotateConfig {
                size: Some(64 << 10),
                every: None,
                keep: 3,
                compress: false,
            },
            bytes_per_day: None,
            journald: true,
            stdout: true,
            otlp: Some(OtlpConfig {
                endpoint: "http://collector:4318/otel".parse().unwrap(),
                timeout: Duration::from_secs(3),
            }),
        },
    };
    assert_eq!(config.flows, flows);
    assert_eq!(good("flows: {file: none}").flows.sinks.file, None);
}

#[test]
fn presets_and_lists() {
    assert_eq!(good("failsafes: {preset: none}").failsafes, Failsafes::none());
    assert_eq!(
        good("failsafes: {preset: default}").failsafes,
        Failsafes::default()
    );
    let closed = good("failsafes: {inbound: []}").failsafes;
    assert!(closed.inbound.is_empty());
    assert_eq!(closed.outbound, Failsafes::default().outbound);
}

#[test]
fn refusals() {
    let long = format!("socket: /{}", "x".repeat(107));
    for (text, code, path, words) in [
        (
            "saftyNet: true",
            "unknown-field",
            "saftyNet",
            "did you mean `safetyNet`?",
        ),
        (
            "flows: {intervall: 10s}",
            "unknown-field",
            "flows.intervall",
            "did you mean `interval`?",
        ),
        ("host: {name: x}", "unknown-field", "host.name", "labels"),
        ("node: 5", "wrong-type", "node", "quotes"),
        ("node: a b", "invalid-name", "node", "not a name of a host"),
        ("host: {labels: {a: 1}}", "wrong-type", "host.labels.a", "quotes"),
        (
            "host: {labels: {pcns.a: b}}",
            "reserved-label",
            "host.labels.pcns.a",
            "this host must not",
        ),
        ("policyDir: policy.d", "invalid-path", "policyDir", "absolute"),
        (&long, "invalid-path", "socket", "108 bytes"),
        ("safetyNet: yes", "wrong-type", "safetyNet", "`true` or `false`"),
        (
            "denyAction: Drop",
            "invalid-value",
            "denyAction",
            "did you mean `drop`?",
        ),
        (
            "failsafes: {preset: cilium}",
            "invalid-value",
            "failsafes.preset",
            "default, calico, none",
        ),
        (
            "failsafes: {inbound: tcp:22}",
            "wrong-type",
            "failsafes.inbound",
            "a list of failsafes",
        ),
        (
            "failsafes: {inbound: [22]}",
            "wrong-type",
            "failsafes.inbound[0]",
            "found the number `22`",
        ),
        (
            "failsafes: {outbound: [icmp:8]}",
            "invalid-failsafe",
            "failsafes.outbound[0]",
            "use tcp, udp or sctp",
        ),
        (
            "flows: {interval: 10}",
            "invalid-interval",
            "flows.interval",
            "`10` is not an interval",
        ),
        (
            "flows: {interval: 10ms}",
            "invalid-interval",
            "flows.interval",
            "from 100ms",
        ),
        (
            "flows: {interval: 25h}",
            "invalid-interval",
            "flows.interval",
            "to 24h",
        ),
        (
            "flows: {interval: s}",
            "invalid-interval",
            "flows.interval",
            "10s",
        ),
        (
            "flows: {interval: 99999999999999999999h}",
            "invalid-interval",
            "flows.interval",
            "10s",
        ),
        (
            "flows: {interval: [10s]}",
            "wrong-type",
            "flows.interval",
            "a duration",
        ),
        (
            "flows: {nflogGroup: 65536}",
            "out-of-range",
            "flows.nflogGroup",
            "from 0 to 65535",
        ),
        (
            "flows: {records: none}",
            "invalid-value",
            "flows.records",
            "notable, all",
        ),
        (
            "flows: {bytesPerDay: 1000}",
            "invalid-size",
            "flows.bytesPerDay",
            "or none: 100M",
        ),
        (
            "flows: {rotate: {size: 1K}}",
            "invalid-size",
            "flows.rotate.size",
            "from 4K",
        ),
        (
            "flows: {rotate: {every: 1s}}",
            "invalid-interval",
            "flows.rotate.every",
            "from 1m to 8784h",
        ),
        (
            "flows: {rotate: {keep: 0}}",
            "out-of-range",
            "flows.rotate.keep",
            "from 1 to 10000",
        ),
        (
            "flows: {prometheus: {listen: '0.0.0.0:9757'}}",
            "invalid-listen",
            "flows.prometheus.listen",
            "not a loopback address, and the metrics, which name every policy",
        ),
        (
            "flows: {prometheus: {listen: '9757'}}",
            "invalid-listen",
            "flows.prometheus.listen",
            "write 127.0.0.1:9757",
        ),
        (
            "flows: {prometheus: {}}",
            "missing-field",
            "flows.prometheus",
            "listen",
        ),
        (
            "flows: {otlp: {endpoint: 'https://c:4318'}}",
            "invalid-endpoint",
            "flows.otlp.endpoint",
            "does not speak",
        ),
        (
            "flows: {otlp: {endpoint: 'http://me:secret@c:4318'}}",
            "invalid-endpoint",
            "flows.otlp.endpoint",
            "in clear",
        ),
        (
            "flows: {otlp: {endpoint: 'localhost:4318'}}",
            "invalid-endpoint",
            "flows.otlp.endpoint",
            "write http://",
        ),
        ("[]", "wrong-type", "", "the fields of the configuration"),
        ("node: a\n---\nnode: b\n", "extra-document", "", "one document"),
    ] {
        let (config, diagnostics, files) = parse(text);
        let rendered = diagnostics.render(&files, false);
        assert!(config.is_none(), "{text}");
        assert_eq!(diagnostics.len(), 1, "{text}\n{rendered}");
        let problem = diagnostics.iter().next().unwrap();
        assert_eq!(
            (problem.code, problem.path.as_deref()),
            (code, Some(path)),
            "{text}\n{rendered}"
        );
        assert!(rendered.contains(words), "{text}\n{rendered}");
    }
}

#[test]
fn load_says_what_and_where() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("palisade.yaml");
    let missing = Config::load(&path).unwrap_err().to_string();
    assert!(
        missing.starts_with("cannot read the configuration /"),
        "{missing}"
    );

    std::fs::write(&path, "node: n\nfoo: 1\nflows: {interval: 1}\n").unwrap();
    let wrong = Config::load(&path).unwrap_err().to_string();
    assert!(
        wrong.contains("palisade.yaml:2:1") && wrong.contains("palisade.yaml:3:19"),
        "{wrong}"
    );

    std::fs::write(&path, b"node: \xff\n").unwrap();
    let binary = Config::load(&path).unwrap_err().to_string();
    assert!(binary.starts_with("error[not-utf8]: line 1"), "{binary}");

    std::fs::write(&path, "node: n\n").unwrap();
    assert_eq!(Config::load(&path).unwrap().node, "n");
}

/// What is shipped, and what its comments say the defaults are.
#[test]
fn the_shipped_configuration_is_valid() {
    let text = include_str!("../../../systemd/palisade.yaml");
    let default = Config::default();
    assert_eq!(good(text), default);
    let written = text.lines().map(|line| match line.strip_prefix('#') {
        Some(key) if !key.starts_with(' ') || key.starts_with("  ") => key,
        _ => "",
    });
    let config = good(&written.collect::<Vec<_>>().join("\n"));
    assert_eq!(config.policy_dir, default.policy_dir);
    assert_eq!(config.failsafes, default.failsafes);
    assert_eq!(config.flows, default.flows);
}

#[test]
fn rollout_is_read() {
    let config = good(
        "\
rollout:
  confirmWithin: 5m
  probes:
    - {name: database, tcp: 'db-1:5432'}
    - {name: six, tcp: '[fd00::1]:53', timeout: 500ms}
    - {name: web, command: [/usr/bin/curl, -f, 'http://localhost/']}
",
    );
    assert_eq!(config.rollout.confirm_within, Duration::from_mins(5));
    let shown: Vec<String> = config
        .rollout
        .probes
        .iter()
        .map(|probe| probe.check.to_string())
        .collect();
    assert_eq!(
        shown,
        [
            "tcp db-1:5432",
            "tcp [fd00::1]:53",
            "/usr/bin/curl -f http://localhost/"
        ]
    );
    let timeouts: Vec<Duration> = config.rollout.probes.iter().map(|probe| probe.timeout).collect();
    assert_eq!(
        timeouts,
        [
            Duration::from_secs(5),
            Duration::from_millis(500),
            Duration::from_secs(5)
        ]
    );
    assert_eq!(good("").rollout.confirm_within, Duration::from_mins(1));
}

#[test]
fn a_rollout_that_means_nothing_is_refused() {
    for (rollout, message) in [
        ("{confirmWithin: 0s}", "`0s` is not a time to confirm"),
        ("{probes: [{name: a}]}", "a probe does one thing"),
        (
            "{probes: [{name: a, tcp: 'b:1', command: [/c]}]}",
            "a probe does one thing",
        ),
        ("{probes: [{tcp: 'b:1'}]}", "a probe needs `name`"),
        (
            "{probes: [{name: a, tcp: 'fd00::1:53'}]}",
            "is not a host and a port",
        ),
        ("{probes: [{name: a, tcp: 'b:0'}]}", "is not a host and a port"),
        (
            "{probes: [{name: a, command: [curl]}]}",
            "the command has no absolute path",
        ),
        (
            "{probes: [{name: a, command: []}]}",
            "the command has no absolute path",
        ),
        (
            "{probes: [{name: a, tcp: 'b:1'}, {name: a, tcp: 'c:1'}]}",
            "there are two probes called `a`",
        ),
        ("{confirm: 1s}", "confirm"),
    ] {
        let (config, diagnostics, files) = parse(&format!("rollout: {rollout}"));
        let said = diagnostics.render(&files, false);
        assert!(config.is_none() && said.contains(message), "{rollout}: {said}");
    }
}

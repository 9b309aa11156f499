use std::collections::VecDeque;

use super::*;
use crate::config::{OtlpConfig, RotateConfig, Taken};
use crate::flows::batch::Noted;
use crate::flows::observe::Missing;
use crate::flows::record::{
    CounterRow, FlowRecord, IntervalRecord, LogStatus, Record, RuleRecord, SafetyNet, Traces,
};

pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A flow that is allowed, and would be denied where `pending` says so.
pub(super) fn flow(port: u16, pending: &str) -> FlowRecord {
    let end = |namespace: Option<&str>, name: &str| (namespace.map(str::to_owned), name.to_owned());
    let ((source_namespace, source_name), (dest_namespace, dest_name)) =
        (end(None, "frontend"), end(Some("shop"), "backend"));
    FlowRecord {
        start_time: OffsetDateTime::UNIX_EPOCH,
        end_time: OffsetDateTime::UNIX_EPOCH,
        reporter: "dst".to_owned(),
        direction: "ingress".to_owned(),
        action: "allow".to_owned(),
        pending_action: pending.to_owned(),
        safety_net: SafetyNet {
            caught: false,
            action: "allow".to_owned(),
            pending_action: pending.to_owned(),
        },
        source_name,
        source_namespace,
        source_type: "HostEndpoint".to_owned(),
        source_labels: Arc::new([("app".to_owned(), "web".to_owned())].into()),
        source_ip: Some([10, 0, 0, 1].into()),
        dest_name,
        dest_namespace,
        dest_type: "WorkloadEndpoint".to_owned(),
        dest_labels: Arc::default(),
        dest_ip: None,
        dest_port: port,
        proto: "tcp".to_owned(),
        source_owners: Vec::new(),
        dest_owners: Vec::new(),
        policies: Arc::new(Traces {
            enforced: Vec::new(),
            pending: Vec::new(),
            enforced_without_safety_net: None,
            pending_without_safety_net: None,
        }),
        evaluated: 3,
        packets_in: 3,
        packets_out: 0,
        bytes_in: 180,
        bytes_out: 0,
        connections_started: 3,
        connections_completed: 0,
        connections_live: 0,
        completed_duration_ms: 0,
        folded_flows: 0,
        sampled: false,
        log_status: LOG_STATUS,
    }
}

const LOG_STATUS: LogStatus = LogStatus {
    complete: true,
    missing: Missing {
        lost: 0,
        unreadable: 0,
        folded: 0,
    },
    accounting: false,
    ends_lost: 0,
    ends_unknown: 0,
};

pub(super) fn rule(counter: &str, packets: u64) -> RuleRecord {
    RuleRecord {
        start_time: OffsetDateTime::UNIX_EPOCH,
        end_time: OffsetDateTime::UNIX_EPOCH,
        counter: CounterRow {
            counter: counter.to_owned(),
            world: "enforced".to_owned(),
            direction: "ingress".to_owned(),
            stage: "normal".to_owned(),
            tier: "default".to_owned(),
            kind: "GlobalNetworkPolicy".to_owned(),
            namespace: None,
            name: "web".to_owned(),
            rule_index: 1,
            rule_name: None,
            action: "Allow".to_owned(),
            without_safety_net: false,
            packets_total: packets,
            bytes_total: 60 * packets,
        },
        packets_delta: packets,
        bytes_delta: 60 * packets,
    }
}

/// A batch of flows, of which the first is worth a word and the others are seen every day, and of rules.
pub(super) fn batch(flows: u16, rules: u64) -> Arc<Batch> {
    let noted = |port| Noted {
        record: Arc::new(flow(port, if port == 0 { "deny" } else { "allow" })),
        first_sight: false,
    };
    Arc::new(Batch {
        flows: (0..flows).map(noted).collect(),
        rules: (0..rules).map(|number| rule(&format!("c{number}"), 1)).collect(),
        interval: interval(),
    })
}

pub(super) fn interval() -> IntervalRecord {
    IntervalRecord {
        start_time: OffsetDateTime::UNIX_EPOCH,
        end_time: OffsetDateTime::UNIX_EPOCH,
        generation: 1,
        flows: 0,
        folded_flows: 0,
        evaluated: 0,
        counted: 0,
        sampled: 0,
        evaluated_total: 0,
        counted_total: 0,
        suppressed: 0,
        suppressed_evaluated: 0,
        missed_total: 0,
        log_status: LOG_STATUS,
    }
}

pub(super) const ALL: Taste = Taste {
    flows: Taken::All,
    rules: true,
    every_interval: true,
};

const NOTABLE: Taste = Taste {
    flows: Taken::Notable,
    rules: true,
    every_interval: true,
};

pub(super) fn read(text: &str) -> Vec<Record> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn sinks() -> (Sinks, Sender<()>) {
    let (alive, ended) = channel();
    let sinks = Sinks {
        running: Vec::new(),
        ended: Mutex::new(ended),
    };
    (sinks, alive)
}

fn settled(sinks: &Sinks) -> Vec<SinkStatus> {
    let started = Instant::now();
    loop {
        let status = sinks.status();
        if status.iter().all(|sink| sink.queued == 0) {
            return status;
        }
        assert!(started.elapsed() < PATIENCE, "{status:#?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Does as it is told with each part, and says of each what its record of the interval said.
struct Puppet {
    orders: VecDeque<Receiver<Outcome>>,
    intervals: Sender<Option<IntervalRecord>>,
}

impl Sink for Puppet {
    fn write(&mut self, part: &Part<'_>) -> Outcome {
        self.intervals.send(part.interval(0)).unwrap();
        match self.orders.pop_front() {
            Some(order) => order.recv().unwrap_or_default(),
            None => Outcome::default(),
        }
    }
}

#[test]
fn what_is_left_out_is_said_in_the_last_record() {
    let batch = batch(5, 2);
    assert_eq!(
        NOTABLE.counts(&batch),
        Counts {
            taken: 4,
            suppressed: 4
        }
    );
    let part = NOTABLE.part(&batch, 7);
    assert_eq!((part.records(), part.flows.len()), (4, 1));
    let interval = part.interval(2).unwrap();
    assert_eq!(
        (
            interval.suppressed,
            interval.suppressed_evaluated,
            interval.missed_total
        ),
        (4, 12, 9)
    );
    assert_eq!(ALL.part(&batch, 0).interval(0).unwrap().suppressed, 0);
    let journal = Taste {
        rules: false,
        every_interval: false,
        ..NOTABLE
    };
    assert_eq!(journal.counts(&batch).taken, 2);
    let quiet = self::batch(0, 2);
    assert_eq!(journal.counts(&quiet).taken, 0);
}

#[test]
fn a_sink_that_hangs_keeps_nobody_waiting_and_what_it_misses_is_told() {
    let (mut sinks, alive) = sinks();
    let (order, orders) = channel();
    let (hanging, said) = channel();
    let puppet = Puppet {
        orders: [orders].into(),
        intervals: hanging,
    };
    sinks.add("hanging", "-".to_owned(), ALL, puppet, &alive);
    let (quick, heard) = channel();
    let puppet = Puppet {
        orders: VecDeque::new(),
        intervals: quick,
    };
    sinks.add("quick", "-".to_owned(), NOTABLE, puppet, &alive);
    drop(alive);

    let large = batch(10_000, 0);
    sinks.offer(&large);
    said.recv_timeout(PATIENCE).unwrap();
    // It hangs: the second waits, the third has no room.
    for _ in 0..3 {
        heard.recv_timeout(PATIENCE).unwrap();
        sinks.offer(&large);
    }
    heard.recv_timeout(PATIENCE).unwrap();
    let hanging = &sinks.status()[0];
    assert_eq!(
        (hanging.offered, hanging.missed, hanging.queued),
        (40_004, 20_002, 20_002)
    );
    let error = hanging.last_error.as_ref().unwrap();
    assert!(error.message.contains("too slow"), "{error:?}");

    order.send(Outcome::default()).unwrap();
    let told = said.recv_timeout(PATIENCE).unwrap().unwrap();
    assert_eq!(told.missed_total, 20_002);
    let [hanging, quick] = &settled(&sinks)[..] else {
        panic!("two sinks")
    };
    assert_eq!((hanging.written, hanging.missed), (20_002, 20_002));
    assert_eq!(
        (quick.offered, quick.written, quick.missed, quick.suppressed),
        (40_004, 8, 0, 39_996)
    );
}

#[test]
fn stopping_waits_for_what_is_written_and_not_for_what_hangs() {
    let (mut sinks, alive) = sinks();
    let (_order, orders) = channel();
    let (intervals, _said) = channel();
    let puppet = Puppet {
        orders: [orders].into(),
        intervals,
    };
    sinks.add("hanging", "-".to_owned(), ALL, puppet, &alive);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("flows.jsonl");
    let file = FileSink::new(path.clone(), RotateConfig::default(), None);
    sinks.add("file", "-".to_owned(), ALL, file, &alive);
    drop(alive);
    for _ in 0..5 {
        sinks.offer(&batch(100, 10));
    }
    let started = Instant::now();
    sinks.stop(Duration::from_secs(1));
    assert!(started.elapsed() < PATIENCE);
    let status = sinks.status();
    assert_eq!((status[0].written, status[0].missed), (0, 555));
    assert_eq!((status[1].written, status[1].missed), (555, 0));
    assert_eq!(read(&std::fs::read_to_string(path).unwrap()).len(), 555);
    sinks.offer(&batch(1, 0));
    assert_eq!(sinks.status()[1].missed, 2, "nobody writes any more");
}

#[test]
fn a_sink_that_ends_in_a_bug_counts_as_dead() {
    struct Bug;
    impl Sink for Bug {
        fn write(&mut self, _: &Part<'_>) -> Outcome {
            panic!("on purpose")
        }
    }
    let (mut sinks, alive) = sinks();
    sinks.add("bug", "-".to_owned(), ALL, Bug, &alive);
    drop(alive);
    sinks.offer(&batch(1, 1));
    assert_eq!(settled(&sinks)[0].missed, 3);
    sinks.offer(&batch(1, 1));
    let status = &sinks.status()[0];
    assert_eq!((status.missed, status.written), (6, 0));
}

#[test]
fn an_idle_host_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("flows.jsonl");
    let config = SinksConfig {
        file: Some(path.clone()),
        ..SinksConfig::default()
    };
    let sinks = Sinks::start(&config, "node");
    sinks.offer(&batch(0, 0));
    sinks.stop(PATIENCE);
    assert_eq!(sinks.status()[0].offered, 0);
    assert!(!path.exists());
}

#[test]
fn the_configuration_says_which_sinks_there_are() {
    let config = SinksConfig {
        file: None,
        journald: true,
        stdout: true,
        otlp: Some(OtlpConfig {
            endpoint: "http://127.0.0.1:4318/".parse().unwrap(),
            timeout: Duration::from_secs(1),
        }),
        ..SinksConfig::default()
    };
    let sinks = Sinks::start(&config, "node");
    let status = sinks.status();
    let names: Vec<(&str, &str)> = status
        .iter()
        .map(|sink| (sink.name.as_str(), sink.target.as_str()))
        .collect();
    assert_eq!(
        names,
        [
            ("journald", "/run/systemd/journal/socket"),
            ("stdout", "-"),
            ("otlp", "http://127.0.0.1:4318/")
        ]
    );
    sinks.stop(PATIENCE);
}

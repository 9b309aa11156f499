use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};

use super::draw::{Look, Scrolled, draw};
use super::state::{Event, Next, Order, Pane, State};

fn counter(name: &str, kind: &str, world: &str, action: &str, packets: u64) -> Value {
    json!({
        "counter": format!("{world}/{name}"), "world": world, "direction": "ingress", "stage": "normal",
        "tier": "default", "kind": kind, "namespace": null, "name": name,
        "rule_index": if kind == "EndOfTier" { -1 } else { 0 }, "rule_name": null, "action": action,
        "without_safety_net": kind == "EndOfTier", "packets_total": packets, "bytes_total": packets * 60,
    })
}

fn counters(web: u64, at: u64) -> Event {
    let rows = json!([
        counter("tcp:22", "Failsafe", "enforced", "Allow", 12),
        counter("web", "StagedGlobalNetworkPolicy", "pending", "Allow", web),
        counter("", "EndOfTier", "pending", "Deny", 3),
    ]);
    Event::Counters(serde_json::from_value(rows).unwrap(), Duration::from_secs(at))
}

fn report(name: &str, verdict: &str, reasons: &[&str], denied: u64) -> Value {
    json!({
        "kind": "StagedGlobalNetworkPolicy", "tier": "default", "namespace": null, "name": name,
        "verdict": verdict, "reasons": reasons,
        "without_safety_net": {"verdict": "not-ready", "reasons": ["would deny 3 connections from public: tcp 9100 (3)"]},
        "staged_action": "Set", "source": "10-web.yaml:4:9", "since": "2026-11-23T01:00:00Z", "observed_seconds": 300,
        "observing": true, "endpoints": ["web-1"], "safety_net": true, "evaluated": 5, "would_allow": 2,
        "would_deny": denied, "would_deny_without_safety_net": 3, "alone": null, "first_seen": null, "last_seen": null,
        "new_in_last_hour": {"would_deny": 0, "would_deny_without_safety_net": 1}, "live": null, "flows": [],
        "counters": [], "missing": {"lost": 0, "unreadable": 0, "folded": 0}, "notes": [],
    })
}

fn flow(from: &str, port: u16, pending: &str, evaluated: u64) -> Event {
    let step = json!({
        "endpoint": "web-1", "direction": "ingress", "tier": "default", "kind": "EndOfTier", "namespace": null,
        "name": "", "rule_index": -1, "rule_name": null, "action": "Deny", "trigger": {
            "kind": "StagedGlobalNetworkPolicy", "tier": "default", "namespace": null, "name": "web"}, "source": null,
    });
    let record = json!({
        "start_time": "2026-11-23T05:29:20Z", "end_time": "2026-11-23T05:29:25Z", "reporter": "dst",
        "direction": "ingress", "action": "allow", "pending_action": pending,
        "safety_net": {"caught": true, "action": "allow", "pending_action": pending},
        "source_name": from, "source_namespace": null, "source_type": "Network", "source_labels": {},
        "dest_name": "web-1", "dest_namespace": null, "dest_type": "HostEndpoint", "dest_labels": {},
        "dest_port": port, "proto": "tcp", "policies": {"enforced": [step], "pending": [step],
            "enforced_without_safety_net": null, "pending_without_safety_net": null},
        "evaluated": evaluated, "packets_in": evaluated, "packets_out": 0, "bytes_in": 60, "bytes_out": 0,
        "connections_started": evaluated, "connections_completed": 0, "connections_live": 0,
        "completed_duration_ms": 0, "log_status": {"complete": true, "lost": 0, "unreadable": 0, "folded": 0,
            "accounting": false, "ends_lost": 0, "ends_unknown": 0},
    });
    Event::Flow(Arc::new(serde_json::from_value(record).unwrap()))
}

fn status() -> Event {
    let status = json!({
        "version": "0.1.0", "node": "web-1", "started_at": "2026-11-23T01:00:00Z", "generation": 3,
        "generation_at": "2026-11-23T01:00:00Z", "panic": false, "endpoints": 1, "endpoints_by_kind": {"HostEndpoint": 1},
        "last_reload": {"at": "2026-11-23T01:00:00Z", "ok": true, "error": null}, "enforced_policies": 1,
        "staged_policies": 2, "safety_net": true, "table": {"chains": 1, "rules": 1, "sets": 0, "counters": 3},
        "flows": {"file": "/var/log/palisade/flows.jsonl", "nflog_group": 5, "reading": true,
            "missing": {"lost": 4, "unreadable": 0, "folded": 0}, "not_written": 0, "sinks": []},
    });
    Event::Status(Box::new(serde_json::from_value(status).unwrap()))
}

/// Rules that move, two staged policies, and two flows.
fn busy() -> State {
    let mut state = State::default();
    let reports = json!([
        report(
            "web",
            "too-little-evidence",
            &["it has been observed for 5m only, not for 1d"],
            0
        ),
        report(
            "lockdown",
            "not-ready",
            &[
                "would deny 8 connections from frontend-eth0: tcp 8080 (4), tcp 9090 (4); nginx[812] (nginx.service)",
                "2 live connections would be denied if opened again, and nothing like them was evaluated",
            ],
            8
        ),
    ]);
    let reports = Event::Staged(serde_json::from_value(reports).unwrap());
    for event in [
        status(),
        counters(10, 1),
        counters(35, 3),
        reports,
        Event::FlowsAnew,
        flow("public", 80, "allow", 2),
        flow("frontend-eth0", 9100, "deny", 1),
    ] {
        assert_eq!(state.take(event), Next::On);
    }
    state
}

fn press(state: &mut State, keys: &str) -> Next {
    let mut next = Next::On;
    for character in keys.chars() {
        let code = match character {
            '\t' => KeyCode::Tab,
            '\n' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            other => KeyCode::Char(other),
        };
        next = state.take(Event::Key(KeyEvent::new(code, KeyModifiers::NONE)));
    }
    next
}

fn picture(state: &State, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let look = Look { colours: false };
    terminal
        .draw(|frame| draw(frame, state, &mut Scrolled::default(), look))
        .unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| {
        let cells = (0..width).map(|x| buffer[(x, y)].symbol());
        cells.collect::<String>().trim_end().to_owned() + "\n"
    };
    (0..height).map(line).collect()
}

/// `UPDATE_GOLDEN=1` writes what is expected anew; the difference is then there to be read.
#[track_caller]
fn check(name: &str, drawn: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/cli/top/golden")
        .join(name);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, drawn).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(
        drawn == expected,
        "{} is not what is drawn:\n{drawn}",
        path.display()
    );
}

#[test]
fn it_is_drawn_on_small_and_on_large_terminals() {
    let mut state = busy();
    check("rules-80x24.txt", &picture(&state, 80, 24));
    check("rules-200x50.txt", &picture(&state, 200, 50));
    press(&mut state, "2");
    check("staged-80x24.txt", &picture(&state, 80, 24));
    check("staged-200x50.txt", &picture(&state, 200, 50));
    press(&mut state, "3");
    check("flows-80x24.txt", &picture(&state, 80, 24));
    check("flows-40x10.txt", &picture(&state, 40, 10));
    press(&mut state, "?");
    check("help-80x24.txt", &picture(&state, 80, 24));
}

#[test]
fn no_size_is_too_small_to_draw() {
    let mut state = busy();
    for keys in ["1", "2", "3", "?"] {
        press(&mut state, keys);
        for (width, height) in [(1, 1), (3, 2), (20, 3), (80, 5), (10, 60)] {
            picture(&state, width, height);
        }
    }
}

#[test]
fn a_daemon_that_is_lost_is_told_and_what_was_known_stays() {
    let mut state = busy();
    state.take(Event::Lost(
        "cannot reach palisaded at /run/x.sock: No such file\nhelp: ...".to_owned(),
    ));
    let lost = picture(&state, 80, 24);
    assert!(
        lost.starts_with("palisade top  LOST, trying again: cannot reach palisaded at /run/x.sock"),
        "{lost}"
    );
    assert!(lost.contains("failsafe tcp:22"), "{lost}");
    state.take(status());
    let back = picture(&state, 80, 24);
    assert!(!back.contains("LOST"), "{back}");
}

#[test]
fn colours_only_repeat_what_words_say() {
    let state = busy();
    let drawn = |colours| {
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal
            .draw(|frame| draw(frame, &state, &mut Scrolled::default(), Look { colours }))
            .unwrap();
        terminal.backend().buffer().clone()
    };
    let (coloured, plain) = (drawn(true), drawn(false));
    let symbols = |buffer: &ratatui::buffer::Buffer| -> Vec<String> {
        buffer
            .content
            .iter()
            .map(|cell| cell.symbol().to_owned())
            .collect()
    };
    assert_eq!(symbols(&coloured), symbols(&plain));
    assert!(
        plain
            .content
            .iter()
            .all(|cell| cell.fg == ratatui::style::Color::Reset)
    );
    assert!(
        coloured
            .content
            .iter()
            .any(|cell| cell.fg == ratatui::style::Color::Red)
    );
}

#[test]
fn rates_are_of_what_moved_since_the_counters_were_read_before() {
    let mut state = State::default();
    state.take(counters(10, 1));
    assert!(state.rules().iter().all(|rate| rate.per_second.is_none()));
    state.take(counters(35, 3));
    let rates: Vec<_> = state
        .rules()
        .iter()
        .map(|rate| (rate.row.what(), rate.per_second))
        .collect();
    assert_eq!(rates[0], ("web: rule 0".to_owned(), Some(12.5)));
    // A table made anew counts from zero.
    state.take(counters(5, 4));
    let web = state
        .rules()
        .iter()
        .find(|rate| rate.row.name == "web")
        .unwrap()
        .per_second;
    assert_eq!(web, None);
}

#[test]
fn keys_go_to_the_pane_that_is_chosen() {
    let mut state = busy();
    assert_eq!(state.pane, Pane::Rules);
    press(&mut state, "\tjjjjj");
    assert_eq!(
        (state.pane, state.selected(Pane::Staged)),
        (Pane::Staged, 1),
        "no further than the last row"
    );
    press(&mut state, "kk");
    assert_eq!(state.selected(Pane::Staged), 0);
    assert_eq!(state.selected(Pane::Rules), 0, "the others stay");
    press(&mut state, "3s");
    assert_eq!(state.order(Pane::Flows), Order::Count);
    assert_eq!(state.flows()[0].source_name, "public");
    press(&mut state, "s");
    assert_eq!(state.flows()[0].source_name, "frontend-eth0", "the newest first");
    assert_eq!(press(&mut state, "q"), Next::Quit);
}

#[test]
fn the_worst_policy_comes_first() {
    let mut state = busy();
    assert_eq!(state.staged()[0].name, "lockdown");
    press(&mut state, "2s");
    assert_eq!(
        (state.order(Pane::Staged), state.staged()[0].name.as_str()),
        (Order::Name, "lockdown")
    );
}

#[test]
fn a_filter_is_typed_and_forgotten() {
    let mut state = busy();
    press(&mut state, "3/9100");
    assert!(state.typing);
    assert_eq!(state.flows().len(), 1);
    assert_eq!(press(&mut state, "q"), Next::On, "a letter like any other");
    assert_eq!(state.flows().len(), 0);
    press(&mut state, "\n");
    assert!(!state.typing);
    press(&mut state, "\u{1b}");
    assert_eq!(state.flows().len(), 2);
    let shown = [("end of tier", 2), ("nowhere/", 0)];
    for (text, flows) in shown {
        press(&mut state, &format!("/{text}\n"));
        assert_eq!(state.flows().len(), flows, "{text}");
        press(&mut state, "/\u{1b}");
    }
    let Event::Flow(flow) = flow("web", 80, "allow", 1) else {
        unreachable!("it is a flow");
    };
    let mut flow = Arc::unwrap_or_clone(flow);
    flow.source_namespace = Some("shop".to_owned());
    state.take(Event::Flow(Arc::new(flow)));
    press(&mut state, "/shop/web\n");
    assert_eq!(state.flows().len(), 1);
}

#[test]
fn what_is_paused_stands_still_and_nothing_is_lost() {
    let mut state = busy();
    press(&mut state, "p");
    state.take(flow("later", 1, "allow", 1));
    assert_eq!(state.flows().len(), 2);
    assert!(picture(&state, 80, 24).contains("PAUSED"));
    press(&mut state, "p");
    assert_eq!(state.flows().len(), 3);
}

#[test]
fn flows_are_not_kept_for_ever() {
    let mut state = busy();
    for _ in 0..3_000 {
        state.take(flow("public", 80, "allow", 1));
    }
    assert_eq!(state.flows().len(), 2_000);
}

#[test]
fn control_c_ends_it_whatever_is_being_done() {
    for keys in ["", "/", "?", "p"] {
        let mut state = busy();
        press(&mut state, keys);
        let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(state.take(Event::Key(key)), Next::Quit, "{keys:?}");
    }
}

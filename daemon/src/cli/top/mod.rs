//! `palisade top`: a live view of rules, staged policies and flows.
//!
//! Tasks ask the daemon and a thread reads the keys; what they learn goes through one channel into the [`State`], which is
//! drawn when something has changed, a few times a second at most.

mod draw;
mod state;
#[cfg(test)]
mod tests;

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event;
use serde::de::DeserializeOwned;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::sleep;

use self::draw::{Look, Scrolled};
use self::state::{Event, Next, State};
use super::args::TopArgs;
use super::{Failure, Outcome, output};
use crate::api::client::Client;
use crate::api::types::FlowLine;
use crate::exit::Exit;

/// How often counters are read; the daemon fetches all of them from the kernel for it.
const COUNTERS_EVERY: Duration = Duration::from_secs(1);

/// How often the daemon is asked how it fares.
const STATUS_EVERY: Duration = Duration::from_secs(2);

/// How often staged policies are judged, at most; and what part of the time that may take.
const STAGED_EVERY: Duration = Duration::from_secs(2);
const STAGED_SHARE: u32 = 5;

/// How long to wait before a daemon that is lost is looked for again.
const AGAIN: Duration = Duration::from_secs(1);

/// Between two pictures.
const PICTURE: Duration = Duration::from_millis(50);

/// How long the reader of the keys waits before it looks whether it is still wanted.
const LOOK_UP: Duration = Duration::from_millis(100);

pub(super) async fn run(client: &Client, args: &TopArgs) -> Outcome {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Failure::new(
            Exit::Usage,
            "top is for terminals: use `palisade counters`, `palisade staged` or `palisade flows -f` where there is none",
        ));
    }
    let look = Look {
        colours: output::is_coloured(&std::io::stdout()),
    };
    let broken = |error| Failure::new(Exit::ApplyFailed, format!("cannot use the terminal: {error}"));
    let mut signals = Signals::new().map_err(broken)?;
    let (sender, events) = unbounded_channel();
    let tasks = [
        tokio::spawn(ask(
            client.clone(),
            "/v1/status".to_owned(),
            STATUS_EVERY,
            sender.clone(),
            |status| Event::Status(Box::new(status)),
        )),
        tokio::spawn(ask(
            client.clone(),
            "/v1/counters".to_owned(),
            COUNTERS_EVERY,
            sender.clone(),
            {
                let start = Instant::now();
                move |rows| Event::Counters(rows, start.elapsed())
            },
        )),
        tokio::spawn(ask(
            client.clone(),
            format!("/v1/staged?evidence_seconds={}", args.evidence.as_secs()),
            STAGED_EVERY,
            sender.clone(),
            Event::Staged,
        )),
        tokio::spawn(follow(client.clone(), sender.clone())),
    ];
    // From here on the terminal is not itself: also a panic gives it back.
    let mut terminal = ratatui::try_init().map_err(broken)?;
    let keys = Keys::read(sender);
    let shown = show(&mut terminal, events, &mut signals, look).await;
    drop(keys);
    let restored = ratatui::try_restore();
    for task in tasks {
        task.abort();
    }
    shown.and(restored).map_err(broken)?;
    Ok(Exit::Fine)
}

/// Draws what has changed until it is time to end.
async fn show(
    terminal: &mut DefaultTerminal,
    mut events: UnboundedReceiver<Event>,
    signals: &mut Signals,
    look: Look,
) -> std::io::Result<()> {
    let mut state = State::default();
    let mut scrolled = Scrolled::default();
    loop {
        terminal.draw(|frame| draw::draw(frame, &state, &mut scrolled, look))?;
        let drawn = Instant::now();
        let first = tokio::select! {
            event = events.recv() => event,
            () = signals.any() => return Ok(()),
        };
        let Some(first) = first else { return Ok(()) };
        let mut next = state.take(first);
        // What else comes until the next picture is due goes into the same one.
        tokio::select! {
            () = sleep(PICTURE.saturating_sub(drawn.elapsed())) => {}
            () = signals.any() => return Ok(()),
        }
        while let (Next::On, Ok(event)) = (next, events.try_recv()) {
            next = state.take(event);
        }
        if next == Next::Quit {
            return Ok(());
        }
    }
}

/// Asks for something again and again.
async fn ask<T: DeserializeOwned>(
    client: Client,
    path: String,
    every: Duration,
    events: UnboundedSender<Event>,
    told: impl Fn(T) -> Event,
) {
    loop {
        let asked = Instant::now();
        let (event, pause) = match client.get(&path).await {
            Ok(answer) => (told(answer), every.max(asked.elapsed() * STAGED_SHARE)),
            Err(error) => (Event::Lost(error.to_string()), AGAIN),
        };
        if events.send(event).is_err() {
            return;
        }
        sleep(pause).await;
    }
}

/// Follows the flows, and begins anew when the stream breaks off.
async fn follow(client: Client, events: UnboundedSender<Event>) {
    loop {
        let mut is_first = true;
        let result = client
            .follow("/v1/flows?follow=true", |line| {
                if std::mem::take(&mut is_first) && events.send(Event::FlowsAnew).is_err() {
                    return ControlFlow::Break(());
                }
                let event = match serde_json::from_str(line) {
                    Ok(FlowLine::Flow(record)) => Event::Flow(record),
                    Ok(FlowLine::Missed { records }) => Event::Missed(records),
                    Err(_) => return ControlFlow::Continue(()),
                };
                match events.send(event) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }
            })
            .await;
        if let Err(error) = result
            && events.send(Event::Lost(error.to_string())).is_err()
        {
            return;
        }
        sleep(AGAIN).await;
    }
}

/// What ends a program from outside: the terminal must be itself again afterwards.
struct Signals([Signal; 3]);

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Signals([
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn any(&mut self) {
        let [terminate, interrupt, hangup] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// A thread that reads the keys until this is dropped.
struct Keys {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Keys {
    fn read(events: UnboundedSender<Event>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                let event = match event::poll(LOOK_UP) {
                    Ok(true) => event::read(),
                    Ok(false) => continue,
                    Err(error) => Err(error),
                };
                let sent = match event {
                    Ok(event::Event::Key(key)) => events.send(Event::Key(key)),
                    Ok(event::Event::Resize(..)) => events.send(Event::Resized),
                    Ok(_) => Ok(()),
                    // The terminal is gone, and a hangup is on its way.
                    Err(_) => return,
                };
                if sent.is_err() {
                    return;
                }
            }
        });
        Keys {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has said already what it had to say.
            let _ = thread.join();
        }
    }
}

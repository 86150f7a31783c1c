//! The line between a client and its link: what is on its way in either direction, and the faults of the line.
//!
//! One lock, never held while waiting. Each side has one waker; each waits for the other and for nothing else.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::{
    client::{Closed, Frame},
    options::{Faults, Window},
};

/// How many commands are on their way before the client has to wait.
const COMMANDS: usize = 64;

/// Both ends of a line.
#[derive(Debug)]
pub(crate) struct Wire {
    state: Mutex<State>,
    /// Wakes the client.
    pub(crate) to_client: Notify,
    /// Wakes the link.
    pub(crate) to_link: Notify,
}

#[derive(Debug)]
struct State {
    window: Window,
    faults: Faults,
    frames: VecDeque<Frame>,
    bytes: usize,
    /// Frames that are held back; they do not fill the window.
    held: VecDeque<Frame>,
    holding: bool,
    commands: VecDeque<Bytes>,
    paused: bool,
    read: usize,
    pings: Pings,
    /// The link has nothing to do until somebody else acts.
    idle: bool,
    end: Option<Closed>,
    /// The link has let go of its connection.
    gone: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pings {
    None,
    Waiting,
    Answered,
}

/// What the client finds on the line.
#[derive(Debug)]
pub(crate) enum Read {
    Frame(Frame),
    Nothing,
    End(Closed),
}

/// What the link finds on the line.
#[derive(Debug)]
pub(crate) enum Found {
    Command(Bytes),
    Pong,
    End,
    Nothing,
}

impl Wire {
    pub(crate) fn new(window: Window, faults: Faults) -> Arc<Self> {
        let state = State {
            window,
            faults,
            frames: VecDeque::new(),
            bytes: 0,
            held: VecDeque::new(),
            holding: faults.hold,
            commands: VecDeque::new(),
            paused: faults.pause_after == Some(0),
            read: 0,
            pings: Pings::None,
            idle: false,
            end: (faults.cut_after == Some(0)).then_some(Closed::Cut),
            gone: false,
        };
        Arc::new(Self { state: Mutex::new(state), to_client: Notify::new(), to_link: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // The client's end.

    pub(crate) fn read(&self) -> Read {
        let mut state = self.state();
        if let Some(end @ (Closed::Cut | Closed::Left)) = &state.end {
            return Read::End(end.clone());
        }
        if state.paused {
            return Read::Nothing;
        }
        let Some(frame) = state.frames.pop_front() else {
            return match &state.end {
                Some(end) if state.held.is_empty() => Read::End(end.clone()),
                _ => Read::Nothing,
            };
        };
        state.bytes -= frame.bytes.len();
        state.read += 1;
        let read = Some(state.read);
        if read == state.faults.cut_after {
            state.cut();
        }
        state.paused |= read == state.faults.pause_after;
        drop(state);
        self.to_link.notify_one();
        Read::Frame(frame)
    }

    /// Puts a command on the line; gives it back when there is no room.
    pub(crate) fn send(&self, command: Bytes) -> Result<Option<Bytes>, Closed> {
        let mut state = self.state();
        if let Some(end) = &state.end {
            return Err(end.clone());
        }
        if state.commands.len() >= COMMANDS {
            return Ok(Some(command));
        }
        state.idle = false;
        state.commands.push_back(command);
        drop(state);
        self.to_link.notify_one();
        Ok(None)
    }

    pub(crate) fn set_paused(&self, paused: bool) {
        let mut state = self.state();
        state.paused = paused;
        state.answer_pings();
        drop(state);
        self.to_link.notify_one();
        self.to_client.notify_one();
    }

    pub(crate) fn hold(&self) {
        self.state().holding = true;
    }

    /// Lets so many held frames arrive; `None` lets all arrive and holds no more.
    pub(crate) fn release(&self, count: Option<usize>) -> usize {
        let mut state = self.state();
        let count = count.map_or(state.held.len(), |count| count.min(state.held.len()));
        let released: Vec<Frame> = state.held.drain(..count).collect();
        state.bytes += released.iter().map(|frame| frame.bytes.len()).sum::<usize>();
        state.frames.extend(released);
        drop(state);
        self.to_client.notify_one();
        self.to_link.notify_one();
        count
    }

    pub(crate) fn stop_holding(&self) {
        let mut state = self.state();
        state.holding = false;
        state.answer_pings();
        drop(state);
        self.release(None);
    }

    pub(crate) fn held(&self) -> usize {
        self.state().held.len()
    }

    /// Ends the line from the client's side.
    pub(crate) fn end(&self, how: Closed) {
        let mut state = self.state();
        match how {
            Closed::Cut => state.cut(),
            other => {
                state.end.get_or_insert(other);
            }
        }
        drop(state);
        self.to_link.notify_one();
        self.to_client.notify_one();
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.state().gone
    }

    /// Whether nothing more arrives before somebody else acts, as far as the line can tell.
    pub(crate) fn is_quiet(&self) -> bool {
        let state = self.state();
        state.frames.is_empty() && state.commands.is_empty() && (state.idle || state.gone)
    }

    /// Whether the client does not get what arrives.
    pub(crate) fn is_stopped(&self) -> bool {
        let state = self.state();
        state.paused || state.holding
    }

    // The link's end.

    /// What the link is to act on; commands only if it takes them now.
    pub(crate) fn found(&self, commands: bool) -> Found {
        let mut state = self.state();
        if state.end.is_some() {
            return Found::End;
        }
        if commands && let Some(command) = state.commands.pop_front() {
            state.idle = false;
            drop(state);
            self.to_client.notify_one();
            return Found::Command(command);
        }
        if state.pings == Pings::Answered {
            state.pings = Pings::None;
            return Found::Pong;
        }
        Found::Nothing
    }

    /// Writes a frame; gives it back when the line is full.
    pub(crate) fn write(&self, frame: Frame) -> Option<Frame> {
        let mut state = self.state();
        if state.end.is_some() {
            return None;
        }
        if state.holding {
            state.held.push_back(frame);
            return None;
        }
        let Window { frames, bytes } = state.window;
        let fits = state.frames.is_empty() || (state.frames.len() < frames && state.bytes + frame.bytes.len() <= bytes);
        if !fits {
            return Some(frame);
        }
        state.bytes += frame.bytes.len();
        state.frames.push_back(frame);
        drop(state);
        self.to_client.notify_one();
        None
    }

    pub(crate) fn ping(&self) {
        let mut state = self.state();
        state.pings = Pings::Waiting;
        state.answer_pings();
    }

    pub(crate) fn set_idle(&self, idle: bool) {
        let mut state = self.state();
        if state.idle != idle {
            state.idle = idle;
            drop(state);
            self.to_client.notify_one();
        }
    }

    /// The server closes the line; what is on its way still arrives.
    pub(crate) fn close(&self, end: Closed) {
        self.state().end.get_or_insert(end);
    }

    pub(crate) fn let_go(&self) {
        let mut state = self.state();
        state.gone = true;
        state.end.get_or_insert(Closed::Cut);
        drop(state);
        self.to_client.notify_one();
    }
}

impl State {
    fn cut(&mut self) {
        self.frames.clear();
        self.held.clear();
        self.commands.clear();
        self.bytes = 0;
        self.end = Some(Closed::Cut);
    }

    /// A client answers pings while it reads.
    fn answer_pings(&mut self) {
        if self.pings == Pings::Waiting && !self.paused && !self.holding && !self.faults.mute {
            self.pings = Pings::Answered;
        }
    }
}

//! The work that back ends have taken up of late, so that a cancellation can name it (CMD-16).
//!
//! The server does not see work end. A back end that reads the stream acknowledges a command when its work has ended; one
//! that is called answers when it has taken the command over, and its work goes on. What is kept here is bounded in
//! number and in time; work that is no longer kept is no longer named.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use eventwire_protocol::Work;

/// Commands that are kept of one lane, the newest.
pub(crate) const PER_LANE: usize = 16;

/// How far the work of a command has come, as far as the server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// A back end has it, and it may go on.
    InWork,
    /// It has ended.
    Ended,
}

/// Commands that began work and are over for the queue, by lane.
#[derive(Debug)]
pub(crate) struct Recent {
    /// Commands that are kept at most.
    most: usize,
    /// For how long.
    horizon: Duration,
    lanes: HashMap<Arc<str>, VecDeque<Record>>,
    /// The lane of each record, by the id of its command.
    by_id: HashMap<Arc<str>, Arc<str>>,
    /// When each record was made, and its lane, oldest first. Some of them are gone from their lane already.
    order: VecDeque<(u64, Duration, Arc<str>)>,
    next: u64,
}

#[derive(Debug)]
struct Record {
    serial: u64,
    id: Arc<str>,
    work: Work,
    progress: Progress,
}

impl Recent {
    /// Nothing yet. Keeps `most` commands for `horizon`.
    pub(crate) fn new(most: usize, horizon: Duration) -> Self {
        Self { most, horizon, lanes: HashMap::new(), by_id: HashMap::new(), order: VecDeque::new(), next: 0 }
    }

    /// A command of a lane is over for the queue. A record of the same command is replaced.
    pub(crate) fn record(&mut self, lane: &Arc<str>, id: Arc<str>, work: Work, progress: Progress, now: Duration) {
        self.expire(now);
        let serial = self.next;
        self.next += 1;
        self.by_id.insert(id.clone(), lane.clone());
        let records = self.lanes.entry(lane.clone()).or_default();
        records.retain(|record| record.id != id);
        records.push_back(Record { serial, id, work, progress });
        if records.len() > PER_LANE
            && let Some(oldest) = records.pop_front()
        {
            self.by_id.remove(&oldest.id);
        }
        self.order.push_back((serial, now, lane.clone()));
        while self.order.len() > self.most {
            self.forget_oldest();
        }
    }

    /// The work of a kept command has ended. Says whether the command is kept and was in work.
    pub(crate) fn end(&mut self, id: &str, now: Duration) -> bool {
        self.expire(now);
        let Some(lane) = self.by_id.get(id).cloned() else { return false };
        let records = self.lanes.get(&lane).into_iter().flatten();
        let mut in_work = records.filter(|record| *record.id == *id && record.progress == Progress::InWork);
        let Some((id, work)) = in_work.next().map(|record| (record.id.clone(), record.work)) else { return false };
        self.record(&lane, id, work, Progress::Ended, now);
        true
    }

    /// The commands of a lane that began this work, and how far it has come. The order is that of the records.
    pub(crate) fn of(&mut self, lane: &str, work: Work, now: Duration) -> Vec<(Arc<str>, Progress)> {
        self.expire(now);
        let records = self.lanes.get(lane).into_iter().flatten().filter(|record| record.work == work);
        records.map(|record| (record.id.clone(), record.progress)).collect()
    }

    /// Whether the work of a command is known to have ended.
    pub(crate) fn has_ended(&mut self, lane: &str, id: &str, now: Duration) -> bool {
        self.expire(now);
        let mut records = self.lanes.get(lane).into_iter().flatten();
        records.any(|record| *record.id == *id && record.progress == Progress::Ended)
    }

    fn expire(&mut self, now: Duration) {
        while self.order.front().is_some_and(|(_, at, _)| *at + self.horizon <= now) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((serial, _, lane)) = self.order.pop_front() else { return };
        let Some(records) = self.lanes.get_mut(&lane) else { return };
        if records.front().is_some_and(|record| record.serial == serial)
            && let Some(oldest) = records.pop_front()
        {
            self.by_id.remove(&oldest.id);
        }
        if records.is_empty() {
            self.lanes.remove(&lane);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(recent: &mut Recent, lane: &str, now: u64) -> Vec<String> {
        recent.of(lane, Work::Turn, Duration::from_secs(now)).iter().map(|(id, _)| id.to_string()).collect()
    }

    #[test]
    fn cmd_16_recent_work_is_bounded_in_number_and_time() {
        let mut recent = Recent::new(40, Duration::from_secs(600));
        let mut record = |lane: &str, number: usize, work, at| {
            let id: Arc<str> = format!("{lane}{number}").into();
            recent.record(&lane.into(), id, work, Progress::InWork, Duration::from_secs(at));
            recent.lanes.len()
        };
        for number in 0..20 {
            record("a", number, Work::Turn, 0);
        }
        record("b", 0, Work::Speech, 1);
        record("b", 1, Work::Turn, 1);
        let newest: Vec<String> = (4..20).map(|number| format!("a{number}")).collect();
        assert_eq!(ids(&mut recent, "a", 599), newest, "the newest of a lane");
        assert_eq!(ids(&mut recent, "b", 599), ["b1"]);
        assert_eq!(ids(&mut recent, "a", 600), Vec::<String>::new());
        assert_eq!(ids(&mut recent, "b", 600), ["b1"]);
        for number in 0..100 {
            let lane: Arc<str> = format!("c{number}").into();
            recent.record(&lane, lane.clone(), Work::Turn, Progress::InWork, Duration::from_secs(600));
        }
        assert_eq!((recent.lanes.len(), recent.order.len()), (40, 40), "the newest of all");
        recent.expire(Duration::from_secs(1_200));
        assert_eq!((recent.lanes.len(), recent.order.len(), recent.by_id.len()), (0, 0, 0));
    }

    #[test]
    fn cmd_16_work_ends_once() {
        let mut recent = Recent::new(10, Duration::from_secs(600));
        recent.record(&"a".into(), "1".into(), Work::Turn, Progress::InWork, Duration::ZERO);
        let seconds = Duration::from_secs;
        assert!(!recent.has_ended("a", "1", seconds(0)));
        assert!(!recent.end("2", seconds(0)));
        assert!(recent.end("1", seconds(500)) && !recent.end("1", seconds(500)));
        assert!(recent.has_ended("a", "1", seconds(1_099)) && !recent.has_ended("b", "1", seconds(1_099)));
        assert!(!recent.has_ended("a", "1", seconds(1_100)));
    }
}

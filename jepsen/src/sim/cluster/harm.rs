//! What can be done to the nodes of a cluster while they run, and undone.

use std::sync::atomic::Ordering;

use clock::ClockFault;
use raft_groups::disk::{SimDir, SimFaults};

use super::super::links::Links;
use super::super::strike::Strike;
use super::{SimCluster, Standing};

impl SimCluster {
    /// Stops a node where it stands, as SIGSTOP does.
    pub fn pause(&self, index: usize) {
        let slots = self.shared.slots.lock();
        slots[index].gate.close();
        if let Some(id) = slots[index].id {
            self.shared.network.pause(id);
        }
    }

    /// Lets a node go on.
    pub fn resume(&self, index: usize) {
        let slots = self.shared.slots.lock();
        slots[index].gate.open();
        if let Some(id) = slots[index].id {
            self.shared.network.resume(id);
        }
    }

    /// Moves a node's clock, and lets it drift, within the bound on its error.
    pub fn set_clock(&self, index: usize, offset_ns: i64, drift_ppm: i64) {
        let limit_ns = i64::try_from(self.shared.settings.clock_error.as_nanos()).unwrap_or(i64::MAX);
        self.shared.slots.lock()[index].time.set_skew(offset_ns.clamp(-limit_ns, limit_ns), drift_ppm, limit_ns);
    }

    /// Nobody speaks SQL to a node any more, or everybody may again, once it has started anew.
    pub fn set_drained(&self, index: usize, is_drained: bool) {
        self.shared.slots.lock()[index].is_drained = is_drained;
        if is_drained {
            self.shared.database.node_is_down(index);
        }
    }

    /// Moves a node's clock by so many times its bound; `fault` is what its source says of it.
    pub fn break_clock(&self, index: usize, times: i64, fault: Option<ClockFault>) {
        let offset_ns = self.clock_error_ns().saturating_mul(times);
        let (time, id) = {
            let mut slots = self.shared.slots.lock();
            slots[index].is_clock_wrong = fault.is_none();
            (slots[index].time.clone(), slots[index].id)
        };
        // Whoever says so serves nothing from here on, and is exempt from nothing.
        if let Some(id) = id.filter(|_| fault.is_none()) {
            self.shared.watch.clock_went_wrong(id);
        }
        time.set_fault(fault);
        time.set_skew(offset_ns, 0, i64::MAX);
    }

    /// Sets a node's clock right.
    pub fn mend_clock(&self, index: usize) {
        let time = {
            let mut slots = self.shared.slots.lock();
            slots[index].is_clock_wrong = false;
            slots[index].time.clone()
        };
        time.set_fault(None);
        self.set_clock(index, 0, 0);
    }

    /// Which life of a node this is, and whether its clock was fenced in it.
    pub fn life(&self, index: usize) -> (u64, bool) {
        let slots = self.shared.slots.lock();
        (slots[index].lives, slots[index].fenced_life == slots[index].lives)
    }

    /// Notes that a node's log is damaged below its durable end.
    pub fn note_rot(&self, index: usize) {
        self.shared.slots.lock()[index].is_rotten = true;
    }

    /// Sets what hits a node next: from now on, or from its next start.
    pub fn set_strike(&self, index: usize, strike: Option<Strike>) {
        let mut slots = self.shared.slots.lock();
        let slot = &mut slots[index];
        slot.strike = strike;
        slot.engine.interfere(None);
        slot.gate.end_after(None);
        if let (Some(strike), Standing::Starting | Standing::Up) = (strike, slot.standing) {
            self.arm(index, slot.lives, &slot.engine, &slot.gate, strike);
        }
    }

    /// A strike has hit a life; whether it will hit another one.
    pub(in crate::sim) fn use_up_strike(&self, index: usize) -> bool {
        let mut slots = self.shared.slots.lock();
        let strike = &mut slots[index].strike;
        *strike = strike.filter(|strike| strike.lives > 1).map(|strike| Strike { lives: strike.lives - 1, ..strike });
        strike.is_some()
    }

    /// A node's data disk is full from now on, whatever is healed; or it is as others are again. What is there can be written anew in
    /// its place, as the clock's ceiling is: a node does not start otherwise.
    pub fn set_full_for_good(&self, index: usize, is_full: bool) {
        let used_bytes = {
            let mut slots = self.shared.slots.lock();
            slots[index].is_full_for_good = is_full;
            slots[index].disk.used_bytes()
        };
        let capacity_bytes = is_full.then_some(used_bytes);
        self.set_data_faults(index, SimFaults { capacity_bytes, ..SimFaults::default() });
    }

    /// Whether a node's data disk stays full.
    pub fn is_full_for_good(&self, index: usize) -> bool {
        self.shared.slots.lock()[index].is_full_for_good
    }

    /// The transactions that a node coordinates send no heartbeats from now on, or do again.
    pub fn set_starved(&self, index: usize, is_starved: bool) {
        self.shared.slots.lock()[index].is_starved.store(is_starved, Ordering::Relaxed);
    }

    /// Sets what goes wrong with the disk under a node's log.
    pub fn set_log_faults(&self, index: usize, faults: SimFaults) {
        self.shared.slots.lock()[index].log.set_faults(faults);
    }

    /// The disk under a node's log.
    pub fn log_disk(&self, index: usize) -> SimDir {
        self.shared.slots.lock()[index].log.clone()
    }

    /// Sets how full the disk under a node's data is.
    pub fn set_data_faults(&self, index: usize, faults: SimFaults) {
        self.shared.slots.lock()[index].disk.set_faults(faults);
    }

    /// Changes what is wrong with the links, and makes it so.
    pub fn change_links(&self, change: impl FnOnce(&mut Links)) {
        change(&mut self.shared.links.lock());
        self.apply_links();
    }
}

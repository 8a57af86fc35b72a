//! Whose seats go when there are to be fewer.

use std::collections::HashMap;
use std::net::IpAddr;

use libp2p::PeerId;

use super::{Gate, Seat};
use crate::place::{Group, Reach, group_of, host_of, reach_of};

/// A peer, its seat, and how many better ones its group has.
type Ranked<'a> = (&'a PeerId, &'a Seat, usize);

impl Gate {
    /// So many seats from now on, and so many of one address. Where these are fewer, the last of this order give theirs up:
    /// reserved peers, those that this node dialled, those who came by themselves, visitors; of equals, the crowded groups
    /// first, and in a group who is worth least, and came last. Answers how many are asked to leave.
    pub(crate) fn resize(&mut self, max_peers: usize, max_per_address: usize) -> usize {
        let are_fewer = max_peers < self.max_peers || max_per_address < self.max_per_address;
        (self.max_peers, self.max_per_address) = (max_peers, max_per_address);
        // With more, nobody has to go, not even for those who pass through.
        let surplus = if are_fewer { self.surplus() } else { Vec::new() };
        surplus.iter().for_each(|peer| self.show_out(*peer));
        surplus.len()
    }

    /// Those for whom there is no seat.
    fn surplus(&self) -> Vec<PeerId> {
        let absent = self.reserved.iter().filter(|peer| !self.seats.contains_key(peer)).count();
        let staying = self.max_peers - self.passing_seats();
        let (all, inbound) = (staying.saturating_sub(absent), staying.saturating_sub(self.outbound_seats()));
        let (mut kept, mut kept_inbound, mut visitors) = (0, 0, 0);
        let mut near = Near::default();
        let mut surplus = Vec::new();
        for (peer, seat, _) in self.best_first() {
            let is_crowded = near.is_crowded(seat.address, self);
            let has_seat = if self.reserved.contains(peer) {
                kept < self.max_peers
            } else if seat.visiting_since.is_some() {
                !is_crowded && visitors < self.max_visitors() && kept + visitors < self.max_peers
            } else {
                !is_crowded && kept < all && (seat.is_outbound || kept_inbound < inbound)
            };
            if !has_seat {
                surplus.push(*peer);
                continue;
            }
            near.add(seat.address);
            match seat.visiting_since {
                Some(_) => visitors += 1,
                None => {
                    kept += 1;
                    kept_inbound += usize::from(!seat.is_outbound);
                }
            }
        }
        surplus
    }

    /// The peers in the order in which they keep their seats.
    fn best_first(&self) -> Vec<Ranked<'_>> {
        let class = |peer: &PeerId, seat: &Seat| {
            (!self.reserved.contains(peer), seat.visiting_since.is_some(), !seat.is_outbound)
        };
        let mut here: Vec<(&PeerId, &Seat)> =
            self.seats.iter().filter(|(_, seat)| !seat.is_leaving).collect();
        here.sort_by(|a, b| b.1.worth.total_cmp(&a.1.worth).then(a.1.since.cmp(&b.1.since)));
        let mut crowds = HashMap::new();
        let mut ranked: Vec<Ranked<'_>> = here
            .into_iter()
            .map(|(peer, seat)| {
                let better = crowds.entry((class(peer, seat), seat.group())).or_insert(0);
                *better += 1;
                (peer, seat, *better)
            })
            .collect();
        // The order of equals stays.
        ranked.sort_by_key(|(peer, seat, better)| (class(peer, seat), *better));
        ranked
    }
}

/// How many keep their seats, by public host and group of addresses.
#[derive(Default)]
struct Near {
    hosts: HashMap<IpAddr, usize>,
    groups: HashMap<Group, usize>,
}

impl Near {
    /// As [`Gate::is_crowded`], of those who keep their seats.
    fn is_crowded(&self, address: Option<IpAddr>, gate: &Gate) -> bool {
        let Some(address) = address.filter(|address| reach_of(*address) == Reach::Public) else {
            return false;
        };
        let host = self.hosts.get(&host_of(address)).copied().unwrap_or_default();
        let group = self.groups.get(&group_of(address)).copied().unwrap_or_default();
        host >= gate.max_per_address || group >= gate.max_per_group()
    }

    fn add(&mut self, address: Option<IpAddr>) {
        if let Some(address) = address {
            *self.hosts.entry(host_of(address)).or_default() += 1;
            *self.groups.entry(group_of(address)).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::super::GROUP_SEAT_OF;
    use super::super::tests::{arrival, close_leaving, come_from, gate};
    use super::*;

    /// A peer that this node dialled at this address.
    fn dial(gate: &mut Gate, address: &str, number: usize, now: Instant) -> PeerId {
        let peer = PeerId::random();
        gate.admit(arrival(peer, number, Some(address), true), now).unwrap();
        peer
    }

    #[test]
    fn who_came_by_itself_goes_before_those_that_were_dialled_and_reserved_ones_stay() {
        let (friend, now) = (PeerId::random(), Instant::now());
        let mut gate = gate(50, &[friend]);
        gate.admit(arrival(friend, 0, Some("10.9.0.1"), false), now).unwrap();
        gate.set_worth(&friend, -10.0);
        let dialled: Vec<PeerId> = (1..6).map(|n| dial(&mut gate, &format!("10.1.{n}.1"), n, now)).collect();
        let came: Vec<PeerId> =
            (6..30).map(|n| come_from(&mut gate, &format!("10.2.{n}.1"), n, now).unwrap()).collect();
        gate.set_worth(&came[7], 5.0);
        gate.set_worth(&dialled[2], -5.0);

        assert_eq!(gate.resize(10, 2), 23);
        let gone = close_leaving(&mut gate);
        assert!(gone.iter().all(|peer| came.contains(peer)), "those who came by themselves");
        assert!(!gone.contains(&came[7]), "but not the one that was of most use");
        assert_eq!(gate.seats.len(), 7, "three are for those who pass");

        assert_eq!(gate.resize(5, 2), 3);
        assert!(gate.seats[&dialled[2]].is_leaving, "of those that were dialled, the worst");
        assert_eq!(gate.resize(5, 2), 0, "those who are asked to leave already are not asked again");
        close_leaving(&mut gate);
        gate.resize(1, 2);
        close_leaving(&mut gate);
        assert_eq!(gate.seats.keys().collect::<Vec<_>>(), [&friend]);
    }

    #[test]
    fn a_crowd_gives_up_its_seats_first() {
        let (mut gate, now) = (gate(50, &[]), Instant::now());
        for n in 0..20 {
            let peer = come_from(&mut gate, "10.0.0.1", n, now).unwrap();
            gate.set_worth(&peer, 10.0);
        }
        let others: Vec<PeerId> =
            (20..26).map(|n| come_from(&mut gate, &format!("10.0.{n}.1"), n, now).unwrap()).collect();
        gate.resize(16, 2);
        let gone: HashSet<PeerId> = close_leaving(&mut gate).into_iter().collect();
        assert_eq!(gone.len(), 17);
        assert!(others.iter().all(|peer| !gone.contains(peer)), "whatever the crowd did for this node");
    }

    #[test]
    fn an_address_keeps_as_many_as_it_may() {
        let (mut gate, now) = (gate(50, &[]), Instant::now());
        gate.resize(50, 8);
        let at = |n: u64| now + Duration::from_secs(n);
        let came: Vec<PeerId> =
            (0..8).map(|n| come_from(&mut gate, "203.0.113.5", n, at(n as u64)).unwrap()).collect();
        assert_eq!(gate.resize(50, 3), 5);
        assert_eq!(close_leaving(&mut gate).len(), 5);
        assert!(came[..3].iter().all(|peer| gate.seats.contains_key(peer)), "the eldest");
        assert_eq!(gate.resize(60, 9), 0);
        assert!(come_from(&mut gate, "203.0.113.5", 9, at(9)).is_ok());
    }

    proptest! {
        #[test]
        fn what_holds_for_few_seats_holds_when_they_became_few(before in 1usize..70, after in 1usize..70, peers in prop::collection::vec((0u8..4, 1u8..40, any::<bool>(), -5.0f64..5.0), 0..100)) {
            let (mut gate, now) = (gate(before, &[]), Instant::now());
            for (number, (group, host, is_outbound, worth)) in peers.into_iter().enumerate() {
                let address = match group {
                    0 => format!("203.0.113.{host}"),
                    group => format!("10.0.{group}.{host}"),
                };
                let peer = PeerId::random();
                let _ = gate.admit(arrival(peer, number, Some(&address), is_outbound), now);
                gate.set_worth(&peer, worth);
            }
            close_leaving(&mut gate);
            let were = gate.seats.len();
            let leaving = gate.resize(after, 2);
            prop_assert_eq!(close_leaving(&mut gate).len(), leaving);
            prop_assert!(after < before || gate.seats.len() == were);
            prop_assert!(gate.seats.len() <= after);
            let inbound = gate.seats.values().filter(|seat| !seat.is_outbound).count();
            prop_assert!(inbound <= after - gate.outbound_seats());
            let public = |seat: &&Seat| seat.group() == Some(group_of("203.0.113.1".parse().unwrap()));
            prop_assert!(after >= before || gate.seats.values().filter(public).count() <= (after / GROUP_SEAT_OF).max(2));
            // And as many as there is room for have stayed.
            let room = (after - gate.passing_seats()).saturating_sub(gate.outbound_seats());
            prop_assert!(leaving == 0 || gate.seats.len() >= room.min(2));
        }
    }
}

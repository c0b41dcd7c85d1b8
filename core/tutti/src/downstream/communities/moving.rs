//! Moving nodes one at a time to where they add most.

use std::collections::VecDeque;

use super::network::{Network, Partition, Weights};
use crate::observe::may_stop;
use crate::rng::Stream;

/// Gain, in weight of edges over twice that of all, that is taken for rounding.
const ROUNDING: f64 = 1e-12;

/// Moves each node to the community where it adds most, by a queue to which the neighbours of a moved node return (Traag et al. 2019,
/// algorithm A.2), until no move gains. Says whether any node moved.
pub(super) fn move_nodes(network: &Network, partition: &mut Partition, resolution: f64, stream: &mut Stream) -> bool {
    let n = network.n_nodes();
    let mut order: Vec<u32> = (0..n as u32).collect();
    stream.shuffle(&mut order);
    let mut queue: VecDeque<u32> = order.into();
    let mut waits = vec![true; n];
    let mut weights = Weights::new(n);
    let least = ROUNDING * network.total();
    let mut moved = false;
    while let Some(node) = queue.pop_front() {
        may_stop();
        let node = node as usize;
        waits[node] = false;
        let own = partition.label(node);
        network.edges(node).iter().for_each(|(j, weight)| weights.add(partition.label(*j as usize), *weight));
        // What a community is worth to the node: the weight between them less what chance gives.
        let expected = resolution * network.strength(node) / network.total();
        let stay = weights.get(own) - expected * (partition.strength(own) - network.strength(node));
        let (mut best, mut worth) = (own, stay);
        weights.drain(|community, weight| {
            let value = weight - expected * partition.strength(community);
            if community != own && value > worth + least {
                (best, worth) = (community, value);
            }
        });
        // Alone it is worth nothing.
        if worth < -least
            && partition.size(own) > 1
            && let Some(empty) = partition.empty()
        {
            best = empty;
        }
        if best != own {
            partition.assign(network, node, best);
            moved = true;
            for (j, _) in network.edges(node) {
                if partition.label(*j as usize) != best && !waits[*j as usize] {
                    waits[*j as usize] = true;
                    queue.push_back(*j);
                }
            }
        }
    }
    moved
}

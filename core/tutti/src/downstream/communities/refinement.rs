//! Parts of communities that hold together.

use super::network::{Network, Partition, Weights};
use crate::observe::may_stop;
use crate::rng::Stream;

/// How random the merges are, in weight of edges: of two merges, one that gains this much less is taken e times as seldom.
const RANDOMNESS: f64 = 0.01;

/// Divides each community into parts, each connected and well connected to the rest of its community (Traag et al. 2019, algorithm A.2,
/// `MergeNodesSubset`): from single nodes, each that is still alone joins a part at random, by what the merge gains. Returns the part
/// of each node.
pub(super) fn refine(network: &Network, partition: &Partition, resolution: f64, stream: &mut Stream) -> Vec<u32> {
    let n = network.n_nodes();
    let mut parts = Parts::new(network, partition);
    let mut order: Vec<u32> = (0..n as u32).collect();
    stream.shuffle(&mut order);
    let mut weights = Weights::new(n);
    let mut choices: Vec<(u32, f64, f64)> = Vec::new();
    let scale = resolution / network.total();
    for node in order {
        may_stop();
        let node = node as usize;
        let community = partition.label(node);
        let whole = partition.strength(community);
        let own = parts.label[node];
        if parts.size[own as usize] != 1 || !parts.is_well_connected(own, whole, scale) {
            continue;
        }
        for (j, weight) in network.edges(node) {
            if partition.label(*j as usize) == community {
                weights.add(parts.label[*j as usize], *weight);
            }
        }
        choices.clear();
        weights.drain(|part, weight| {
            let gain = weight - scale * network.strength(node) * parts.strength[part as usize];
            if gain > 0.0 && parts.is_well_connected(part, whole, scale) {
                choices.push((part, weight, gain));
            }
        });
        if let Some((part, weight)) = chosen(&choices, stream) {
            parts.join(node, part, weight);
        }
    }
    parts.label
}

/// One of (part, weight, gain), or none to stay alone, which gains nothing: with probability in proportion to exp(gain / randomness).
fn chosen(choices: &[(u32, f64, f64)], stream: &mut Stream) -> Option<(u32, f64)> {
    let most = choices.iter().map(|c| c.2).fold(0.0, f64::max);
    let chance = |gain: f64| ((gain - most) / RANDOMNESS).exp();
    let sum = chance(0.0) + choices.iter().map(|c| chance(c.2)).sum::<f64>();
    let mut left = stream.uniform() * sum - chance(0.0);
    if left < 0.0 {
        return None;
    }
    for (part, weight, gain) in choices {
        left -= chance(*gain);
        if left < 0.0 {
            return Some((*part, *weight));
        }
    }
    choices.last().map(|c| (c.0, c.1))
}

struct Parts {
    label: Vec<u32>,
    size: Vec<u32>,
    strength: Vec<f64>,
    /// Weight between a part and the rest of its community.
    outward: Vec<f64>,
}

impl Parts {
    fn new(network: &Network, partition: &Partition) -> Self {
        let n = network.n_nodes();
        let outward = |node: usize| {
            let inside = network.edges(node).iter().filter(|(j, _)| partition.label(*j as usize) == partition.label(node));
            inside.map(|(_, weight)| weight).sum()
        };
        Self {
            label: (0..n as u32).collect(),
            size: vec![1; n],
            strength: (0..n).map(|node| network.strength(node)).collect(),
            outward: (0..n).map(outward).collect(),
        }
    }

    /// Whether the weight to the rest of the community is at least what chance gives.
    fn is_well_connected(&self, part: u32, community: f64, scale: f64) -> bool {
        let strength = self.strength[part as usize];
        self.outward[part as usize] >= scale * strength * (community - strength)
    }

    /// Puts a node that is alone into a part to which it has edges of this weight.
    fn join(&mut self, node: usize, part: u32, weight: f64) {
        let (own, part) = (self.label[node] as usize, part as usize);
        self.outward[part] += self.outward[own] - 2.0 * weight;
        self.strength[part] += self.strength[own];
        self.size[part] += 1;
        self.size[own] = 0;
        self.label[node] = part as u32;
    }
}

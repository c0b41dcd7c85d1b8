//! Communities of a graph of cells: Leiden (Traag, Waltman and van Eck 2019) and Louvain (Blondel et al. 2008).

mod moving;
mod network;
mod refinement;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::neighbors::Graph;
use crate::rng::{Rng, Stream};
use moving::move_nodes;
use network::{Network, Partition, renumbered};
use refinement::refine;

/// Settings of [`leiden`] and [`louvain`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CommunityConfig {
    /// How fine the communities are, above 0; larger gives more. 1 is plain modularity. Default 1.
    pub resolution: f64,
    /// Runs at most, each from the result of the one before; it ends at the first that improves nothing. Default 10.
    pub n_iterations: usize,
    /// Names all draws.
    pub seed: u64,
}

impl Default for CommunityConfig {
    fn default() -> Self {
        Self { resolution: 1.0, n_iterations: 10, seed: 0 }
    }
}

/// A division of the nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Communities {
    /// Community of each node: 0 is the largest, those of one size go by their first node.
    pub labels: Vec<u32>,
    /// Number of communities.
    pub n_communities: usize,
    /// [`modularity`] at the resolution asked for.
    pub modularity: f64,
}

/// Communities by the Leiden algorithm, each of them connected. Its quality is modularity with a resolution (Reichardt and Bornholdt
/// 2006), as in scanpy and leidenalg's `RBConfigurationVertexPartition`.
///
/// One thread; the same for the same seed. Nodes without edges are communities of their own. Memory: about 40 bytes per edge.
///
/// # Errors
/// [`Error::Argument`] for a resolution that is not above 0 or no iterations.
pub fn leiden(graph: &Graph, config: &CommunityConfig) -> Result<Communities> {
    iterate(graph, config, leiden_pass)
}

/// Communities by the Louvain algorithm with the queue of Leiden; they may be unconnected in themselves. Otherwise as [`leiden`].
///
/// # Errors
/// As [`leiden`].
pub fn louvain(graph: &Graph, config: &CommunityConfig) -> Result<Communities> {
    iterate(graph, config, louvain_pass)
}

/// [`leiden`] at several resolutions, in parallel in the caller's pool; the same for any number of threads.
///
/// # Errors
/// As [`leiden`].
pub fn leiden_at(graph: &Graph, resolutions: &[f64], config: &CommunityConfig) -> Result<Vec<Communities>> {
    resolutions.par_iter().map(|resolution| leiden(graph, &CommunityConfig { resolution: *resolution, ..*config })).collect()
}

/// Modularity with a resolution: the sum over communities of e / m - resolution (k / 2m)², for e the weight of the edges inside, k the sum of
/// the degrees and m the weight of all edges. 0 for a graph without edges.
///
/// # Errors
/// [`Error::Data`] where there is not one label per node.
pub fn modularity(graph: &Graph, labels: &[u32], resolution: f64) -> Result<f64> {
    if labels.len() != graph.n_nodes() {
        let problem = format!("{} labels for {} nodes", labels.len(), graph.n_nodes());
        return Err(Error::data(problem, "give one label per node"));
    }
    let n = labels.iter().max().map_or(0, |l| *l as usize + 1);
    let (mut inside, mut degrees) = (vec![0f64; n], vec![0f64; n]);
    for node in 0..graph.n_nodes() {
        let own = labels[node] as usize;
        let (neighbors, weights) = graph.row(node);
        for (j, weight) in neighbors.iter().zip(weights) {
            degrees[own] += f64::from(*weight);
            if labels[*j as usize] as usize == own {
                inside[own] += f64::from(*weight);
            }
        }
    }
    let twice_m: f64 = degrees.iter().sum();
    if twice_m == 0.0 {
        return Ok(0.0);
    }
    Ok(inside.iter().zip(&degrees).map(|(e, k)| e / twice_m - resolution * (k / twice_m).powi(2)).sum())
}

/// One run of an algorithm: from a division of a network, and a resolution, to a better one.
type Pass = fn(&Network, &[u32], f64, &mut Stream) -> Vec<u32>;

/// Gain in modularity below which a run has improved nothing.
const NO_GAIN: f64 = 1e-10;

fn iterate(graph: &Graph, config: &CommunityConfig, pass: Pass) -> Result<Communities> {
    if !(config.resolution.is_finite() && config.resolution > 0.0) {
        return Err(Error::argument("resolution", format!("is {}", config.resolution), "give a number above 0, e.g. 1"));
    }
    if config.n_iterations == 0 {
        return Err(Error::argument("n_iterations", "is 0", "give at least 1"));
    }
    let network = Network::new(graph);
    let rng = Rng::new(config.seed);
    let mut best: Vec<u32> = (0..graph.n_nodes() as u32).collect();
    let mut quality = modularity(graph, &best, config.resolution)?;
    for iteration in 0..config.n_iterations {
        let mut stream = rng.stream("communities", 0, iteration as u64);
        let labels = pass(&network, &best, config.resolution, &mut stream);
        let found = modularity(graph, &labels, config.resolution)?;
        let gained = found - quality;
        if gained > 0.0 {
            (best, quality) = (labels, found);
        }
        if gained < NO_GAIN {
            break;
        }
    }
    let labels = by_size(&best);
    let n_communities = labels.iter().max().map_or(0, |l| *l as usize + 1);
    Ok(Communities { labels, n_communities, modularity: quality })
}

/// Moves, refines and merges, until every community is one node of the merged network.
fn leiden_pass(base: &Network, labels: &[u32], resolution: f64, stream: &mut Stream) -> Vec<u32> {
    let mut partition = Partition::new(base, labels);
    move_nodes(base, &mut partition, resolution, stream);
    // Node of the merged network that holds each node of the first.
    let mut place: Vec<u32> = (0..base.n_nodes() as u32).collect();
    let mut merged: Option<Network> = None;
    loop {
        let network = merged.as_ref().unwrap_or(base);
        let (parts, n_parts) = renumbered(&refine(network, &partition, resolution, stream));
        if n_parts == network.n_nodes() {
            // No two nodes are worth merging. What is not connected in a community is told apart, which never costs modularity.
            let split = network.connected_parts(partition.labels());
            return place.iter().map(|p| split[*p as usize]).collect();
        }
        let mut community = vec![0; n_parts];
        parts.iter().zip(partition.labels()).for_each(|(part, own)| community[*part as usize] = *own);
        let next = network.merged(&parts, n_parts);
        place.iter_mut().for_each(|p| *p = parts[*p as usize]);
        partition = Partition::new(&next, &community);
        move_nodes(&next, &mut partition, resolution, stream);
        merged = Some(next);
    }
}

/// Moves and merges whole communities, until nothing moves.
fn louvain_pass(base: &Network, labels: &[u32], resolution: f64, stream: &mut Stream) -> Vec<u32> {
    let mut place: Vec<u32> = (0..base.n_nodes() as u32).collect();
    let mut merged: Option<Network> = None;
    let mut partition = Partition::new(base, labels);
    loop {
        let network = merged.as_ref().unwrap_or(base);
        let moved = move_nodes(network, &mut partition, resolution, stream);
        if !moved && merged.is_some() {
            return place;
        }
        let (parts, n_parts) = renumbered(partition.labels());
        let next = network.merged(&parts, n_parts);
        place.iter_mut().for_each(|p| *p = parts[*p as usize]);
        partition = Partition::new(&next, &(0..n_parts as u32).collect::<Vec<_>>());
        merged = Some(next);
    }
}

/// Labels numbered by falling size, ties by first node.
fn by_size(labels: &[u32]) -> Vec<u32> {
    let (labels, n) = renumbered(labels);
    let mut sizes = vec![0usize; n];
    labels.iter().for_each(|l| sizes[*l as usize] += 1);
    // Renumbering goes by first node, and the sort is stable.
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_key(|c| std::cmp::Reverse(sizes[*c]));
    let mut rank = vec![0u32; n];
    order.iter().zip(0..).for_each(|(c, r)| rank[*c] = r);
    labels.iter().map(|l| rank[*l as usize]).collect()
}

#[cfg(test)]
mod tests;

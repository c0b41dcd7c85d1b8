//! Graphs whose nodes are groups of cells, and divisions of them.

use crate::neighbors::Graph;

/// A weighted graph as the algorithms see it. The edges inside of a node only count in its strength.
#[derive(Debug, Clone)]
pub(super) struct Network {
    offsets: Vec<usize>,
    edges: Vec<(u32, f64)>,
    strengths: Vec<f64>,
    total: f64,
}

impl Network {
    pub(super) fn new(graph: &Graph) -> Self {
        let (mut offsets, mut edges, mut strengths) = (vec![0], Vec::with_capacity(2 * graph.n_edges()), Vec::new());
        for node in 0..graph.n_nodes() {
            let (neighbors, weights) = graph.row(node);
            edges.extend(neighbors.iter().zip(weights).map(|(j, weight)| (*j, f64::from(*weight))));
            offsets.push(edges.len());
            strengths.push(graph.degree(node));
        }
        let total = strengths.iter().sum();
        Self { offsets, edges, strengths, total }
    }

    pub(super) fn n_nodes(&self) -> usize {
        self.strengths.len()
    }

    /// Edges of a node to others.
    pub(super) fn edges(&self, node: usize) -> &[(u32, f64)] {
        &self.edges[self.offsets[node]..self.offsets[node + 1]]
    }

    /// Weight of all ends of edges in a node.
    pub(super) fn strength(&self, node: usize) -> f64 {
        self.strengths[node]
    }

    /// Weight of all ends of edges, twice that of all edges; 1 for a graph without, as it only divides.
    pub(super) fn total(&self) -> f64 {
        if self.total > 0.0 { self.total } else { 1.0 }
    }

    /// One node per part. `parts`: the part of each node, numbered from 0 to `n_parts` without gaps.
    pub(super) fn merged(&self, parts: &[u32], n_parts: usize) -> Self {
        let mut strengths = vec![0.0; n_parts];
        let mut members = vec![Vec::new(); n_parts];
        for (node, part) in parts.iter().enumerate() {
            strengths[*part as usize] += self.strengths[node];
            members[*part as usize].push(node);
        }
        let (mut offsets, mut edges) = (vec![0], Vec::new());
        let mut weights = Weights::new(n_parts);
        for (part, members) in members.iter().enumerate() {
            for (other, weight) in members.iter().flat_map(|node| self.edges(*node)) {
                let other = parts[*other as usize];
                if other as usize != part {
                    weights.add(other, *weight);
                }
            }
            weights.drain(|other, weight| edges.push((other, weight)));
            offsets.push(edges.len());
        }
        Self { offsets, edges, strengths, total: self.total }
    }

    /// Labels of the connected parts of each community.
    pub(super) fn connected_parts(&self, labels: &[u32]) -> Vec<u32> {
        let mut part = vec![u32::MAX; labels.len()];
        let (mut found, mut open) = (0, Vec::new());
        for start in 0..labels.len() {
            if part[start] != u32::MAX {
                continue;
            }
            part[start] = found;
            open.push(start);
            while let Some(node) = open.pop() {
                for (next, _) in self.edges(node) {
                    let next = *next as usize;
                    if part[next] == u32::MAX && labels[next] == labels[node] {
                        part[next] = found;
                        open.push(next);
                    }
                }
            }
            found += 1;
        }
        part
    }
}

/// Sums by community, of which few are touched at a time.
pub(super) struct Weights {
    sums: Vec<f64>,
    touched: Vec<u32>,
}

impl Weights {
    pub(super) fn new(n: usize) -> Self {
        Self { sums: vec![0.0; n], touched: Vec::new() }
    }

    /// Adds a weight above 0.
    pub(super) fn add(&mut self, community: u32, weight: f64) {
        let sum = &mut self.sums[community as usize];
        if *sum == 0.0 {
            self.touched.push(community);
        }
        *sum += weight;
    }

    pub(super) fn get(&self, community: u32) -> f64 {
        self.sums[community as usize]
    }

    /// Hands out each community and its sum, in the order in which they were first touched, and forgets them.
    pub(super) fn drain(&mut self, mut take: impl FnMut(u32, f64)) {
        for community in self.touched.drain(..) {
            take(community, std::mem::take(&mut self.sums[community as usize]));
        }
    }
}

/// A division of the nodes of a network. There are as many possible communities as nodes.
pub(super) struct Partition {
    labels: Vec<u32>,
    strengths: Vec<f64>,
    sizes: Vec<u32>,
    empty: Vec<u32>,
}

impl Partition {
    /// `labels`: below the number of nodes, after renumbering.
    pub(super) fn new(network: &Network, labels: &[u32]) -> Self {
        let (labels, n_communities) = renumbered(labels);
        let n = network.n_nodes();
        let (mut strengths, mut sizes) = (vec![0.0; n], vec![0; n]);
        for (node, label) in labels.iter().enumerate() {
            strengths[*label as usize] += network.strength(node);
            sizes[*label as usize] += 1;
        }
        Self { labels, strengths, sizes, empty: (n_communities as u32..n as u32).rev().collect() }
    }

    pub(super) fn labels(&self) -> &[u32] {
        &self.labels
    }

    pub(super) fn label(&self, node: usize) -> u32 {
        self.labels[node]
    }

    pub(super) fn strength(&self, community: u32) -> f64 {
        self.strengths[community as usize]
    }

    pub(super) fn size(&self, community: u32) -> u32 {
        self.sizes[community as usize]
    }

    /// A community without nodes; there is one unless each node is alone.
    pub(super) fn empty(&self) -> Option<u32> {
        self.empty.last().copied()
    }

    pub(super) fn assign(&mut self, network: &Network, node: usize, community: u32) {
        // An empty community is taken as `empty` offered it: last.
        if self.empty.last() == Some(&community) {
            self.empty.pop();
        }
        let old = self.labels[node];
        self.strengths[old as usize] -= network.strength(node);
        self.sizes[old as usize] -= 1;
        if self.sizes[old as usize] == 0 {
            self.strengths[old as usize] = 0.0;
            self.empty.push(old);
        }
        self.strengths[community as usize] += network.strength(node);
        self.sizes[community as usize] += 1;
        self.labels[node] = community;
    }
}

/// Labels without gaps, numbered by their first node, and how many there are.
pub(super) fn renumbered(labels: &[u32]) -> (Vec<u32>, usize) {
    let mut number = vec![u32::MAX; labels.iter().max().map_or(0, |l| *l as usize + 1)];
    let mut next = 0;
    let renumbered = labels
        .iter()
        .map(|label| {
            let number = &mut number[*label as usize];
            if *number == u32::MAX {
                *number = next;
                next += 1;
            }
            *number
        })
        .collect();
    (renumbered, next as usize)
}

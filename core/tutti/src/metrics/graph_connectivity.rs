//! Whether the cells of a label hang together in the neighbour graph (Luecken et al. 2022).

use super::check_cells;
use crate::error::Result;
use crate::neighbors::Neighbors;

/// Mean over labels of the share of its cells in the largest strongly connected part of the graph among them, 0 to 1.
///
/// # Errors
/// [`Error::Data`](crate::Error::Data) where graph and labels have unequal numbers of cells.
pub fn graph_connectivity(neighbors: &Neighbors, labels: &[u32]) -> Result<f64> {
    check_cells(neighbors.n_queries(), &[("labels", labels.len())])?;
    let edges = |i: usize| {
        neighbors.row(i).0.iter().map(|j| *j as usize).filter(move |j| *j != i && labels[*j] == labels[i]).collect::<Vec<usize>>()
    };
    let part = strong_components(labels.len(), edges);
    let n_labels = labels.iter().max().map_or(0, |l| *l as usize + 1);
    let (mut sizes, mut totals) = (std::collections::BTreeMap::new(), vec![0usize; n_labels]);
    for (label, part) in labels.iter().zip(part) {
        *sizes.entry((*label, part)).or_insert(0usize) += 1;
        totals[*label as usize] += 1;
    }
    let mut largest = vec![0usize; n_labels];
    sizes.iter().for_each(|((label, _), n)| largest[*label as usize] = largest[*label as usize].max(*n));
    let shares: Vec<f64> = largest.iter().zip(&totals).filter(|(_, n)| **n > 0).map(|(l, n)| *l as f64 / *n as f64).collect();
    Ok(shares.iter().sum::<f64>() / shares.len().max(1) as f64)
}

/// Number of the strongly connected part of each node (Tarjan 1972, without recursion).
fn strong_components(n: usize, edges: impl Fn(usize) -> Vec<usize>) -> Vec<usize> {
    const NEW: usize = usize::MAX;
    let (mut order, mut low, mut part) = (vec![NEW; n], vec![0usize; n], vec![NEW; n]);
    let (mut open, mut path, mut next, mut n_parts) = (Vec::new(), Vec::new(), 0, 0);
    for start in 0..n {
        if order[start] != NEW {
            continue;
        }
        path.push((start, edges(start), 0));
        (order[start], low[start]) = (next, next);
        next += 1;
        open.push(start);
        while let Some((node, targets, at)) = path.last_mut() {
            let node = *node;
            if let Some(target) = targets.get(*at).copied() {
                *at += 1;
                if order[target] == NEW {
                    (order[target], low[target]) = (next, next);
                    next += 1;
                    open.push(target);
                    path.push((target, edges(target), 0));
                } else if part[target] == NEW {
                    low[node] = low[node].min(order[target]);
                }
                continue;
            }
            path.pop();
            if let Some((parent, ..)) = path.last() {
                low[*parent] = low[*parent].min(low[node]);
            }
            if low[node] == order[node] {
                while let Some(member) = open.pop() {
                    part[member] = n_parts;
                    if member == node {
                        break;
                    }
                }
                n_parts += 1;
            }
        }
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neighbors::{NeighborConfig, nearest_self};

    #[test]
    fn one_way_edges_do_not_connect() {
        // 0 and 1 point at each other, 2 only at 1; 3 and 4 are a pair.
        let targets = [vec![1], vec![0], vec![1], vec![4], vec![3]];
        let part = strong_components(5, |i| targets[i].clone());
        assert!(part[0] == part[1] && part[2] != part[0] && part[3] == part[4] && part[3] != part[0]);
    }

    #[test]
    fn a_label_in_two_places_is_half_connected() {
        let x = ndarray::arr2(&[[0.0f32], [0.1], [0.2], [9.0], [9.1], [9.2], [50.0], [50.1], [50.2]]);
        let neighbors = nearest_self(x.view(), &NeighborConfig { n_neighbors: 3, ..Default::default() }).unwrap();
        let score = graph_connectivity(&neighbors, &[0, 0, 0, 0, 0, 0, 1, 1, 1]).unwrap();
        assert!((score - (0.5 + 1.0) / 2.0).abs() < 1e-12);
    }
}

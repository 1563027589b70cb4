//! Directed graphs of names: circles, and the arrows that do not follow from others.

use std::collections::{BTreeMap, BTreeSet};

pub type Graph<N> = BTreeMap<N, BTreeSet<N>>;

/// Every node that can be reached from `from` by one arrow or more.
pub fn reachable<N: Ord + Clone>(graph: &Graph<N>, from: &N) -> BTreeSet<N> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<&N> = graph.get(from).into_iter().flatten().collect();
    while let Some(node) = open.pop() {
        if seen.insert(node.clone()) {
            open.extend(graph.get(node).into_iter().flatten());
        }
    }
    seen
}

/// The groups of nodes that reach one another.
pub fn circles<N: Ord + Clone>(graph: &Graph<N>) -> BTreeSet<BTreeSet<N>> {
    let reach: BTreeMap<&N, BTreeSet<N>> = graph.keys().map(|node| (node, reachable(graph, node))).collect();
    let circle = |(node, to): (&&N, &BTreeSet<N>)| {
        let back = |other: &&N| reach.get(*other).is_some_and(|to| to.contains(*node));
        to.contains(*node).then(|| to.iter().filter(back).cloned().collect())
    };
    reach.iter().filter_map(circle).collect()
}

/// The arrows of a graph without circles that no longer way replaces (its transitive reduction).
pub fn essential<N: Ord + Clone>(graph: &Graph<N>) -> BTreeSet<(N, N)> {
    let arrows = graph.iter().flat_map(|(from, to)| to.iter().map(move |to| (from, to)));
    let replaced = |from: &N, to: &N| graph[from].iter().any(|by| by != to && reachable(graph, by).contains(to));
    arrows.filter(|(from, to)| !replaced(from, to)).map(|(from, to)| (from.clone(), to.clone())).collect()
}

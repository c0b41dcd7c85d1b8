//! Simulated cells on disk are those in memory.

use tutti::data::{CellSource, Csr};
use tutti::simulate::{Layer, Simulation, Spec};
use tutti_io::{Additions, Backed, ObsColumn, ReadOptions, read, write_layers};

#[test]
fn rows_written_as_they_are_drawn_come_back_with_their_layers_and_columns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.h5ad");
    // More cells than the writer takes at a time.
    let spec = Spec { n_cells: 9000, n_genes: 40, shuffle: true, ..Spec::preset("lineage").unwrap() };
    let simulation = Simulation::new(&spec).unwrap();
    let clone = simulation.cells().unwrap().column("clone").unwrap().clone();
    let additions = Additions { obs: vec![("clone".into(), ObsColumn::Levels(clone.clone()))], ..Default::default() };
    let truth = simulation.layer(Layer::NoNoise);
    let (cells, genes) = (simulation.cell_names(), simulation.gene_names());
    write_layers(&path, &cells, genes, &simulation, &[("no_noise", &truth)], &additions).unwrap();

    for (layer, name) in [(Layer::Measured, None), (Layer::NoNoise, Some("no_noise".to_owned()))] {
        for backed in [Backed::Never, Backed::Always] {
            let data = read(&path, &ReadOptions { backed, layer: name.clone(), ..Default::default() }).unwrap();
            assert_eq!(data.cell_names(), cells);
            let mut rows = Csr::empty(0);
            data.x().source().unwrap().read_range(0..9000, &mut rows).unwrap();
            assert_eq!(rows, simulation.matrix(layer).unwrap());
            let column = data.cells(&["clone"]).unwrap().column("clone").unwrap().clone();
            assert!((0..9000).all(|i| column.value(i) == clone.value(i)));
        }
    }
}

#[test]
fn matrices_of_other_sizes_are_refused_by_name_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.h5ad");
    let simulation = Simulation::new(&Spec::default()).unwrap();
    let other = Simulation::new(&Spec { n_genes: 90, ..Default::default() }).unwrap();
    let (cells, genes) = (simulation.cell_names(), simulation.gene_names());
    let refused = write_layers(&path, &cells, genes, &simulation, &[("no_noise", &other)], &Additions::default()).unwrap_err();
    let message = refused.to_string();
    assert!(message.contains("x.h5ad") && message.contains("1000 x 90"), "{message}");
    assert!(!path.exists());
}

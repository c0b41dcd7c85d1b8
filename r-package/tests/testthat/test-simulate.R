test_that("the seed fixes every value", {
    of <- function(...) SimulateCells("three_clusters", n_cells = 30, n_genes = 20, ..., as = "list")
    expect_identical(of(seed.use = 3), of(seed.use = 3))
    expect_identical(of(seed.use = 3), of(seed = 3))
    expect_false(identical(of(seed.use = 3)$measured, of(seed.use = 4)$measured))
})

test_that("the truth is in the cells' table", {
    columns <- function(preset, ...) names(SimulateCells(preset, ..., n_cells = 60, n_genes = 40, as = "list")$obs)
    expect_true(all(c("batch", "cell_type") %in% columns("five_clusters_two_batches")))
    expect_true("time" %in% columns("trajectory"))
    expect_true("branch" %in% columns("tree"))
    object <- five_clusters()
    expect_equal(as.vector(table(object$batch, object$cell_type)), rep(20, 10))
    # Without noise all cells of a cluster are one, and clusters differ.
    truth <- as.matrix(layer_data(object[["no_noise"]], "data"))
    first <- truth[, object$cell_type == "cluster_1"]
    expect_true(all(first == first[, 1]))
    expect_false(all(truth == truth[, 1]))
})

test_that("all classes hold the same values", {
    of <- function(as) SimulateCells("five_clusters_two_batches", n_cells = 40, n_genes = 20, as = as)
    parts <- of("list")
    expect_s4_class(parts$measured, "dgCMatrix")
    object <- of("Seurat")
    expect_equal(unname(as.matrix(layer_data(object[["RNA"]], "data"))), unname(as.matrix(parts$measured)))
    expect_identical(rownames(object[["RNA"]])[[1]], gsub("_", "-", rownames(parts$measured)[[1]]))
    skip_if_not_installed("SingleCellExperiment")
    sce <- of("SingleCellExperiment")
    expect_identical(SummarizedExperiment::assay(sce, "logcounts"), parts$measured)
    expect_identical(as.data.frame(SummarizedExperiment::colData(sce)), parts$obs)
    expect_identical(SingleCellExperiment::altExpNames(sce), "no_noise")
})

test_that("whole numbers are counts, and a second assay comes with its preset", {
    counts <- SimulateCells("splatter", n_cells = 40, n_genes = 30)
    expect_gt(sum(layer_data(counts[["RNA"]], "counts")), 0)
    expect_identical(summary(GetModel(run(counts, "batch", n_epochs = 1)))$log1p, TRUE)
    expect_true("second" %in% SeuratObject::Assays(SimulateCells("rna_protein", n_cells = 60, n_genes = 60)))
})

test_that("a second assay and a curve of losses can be added to any preset", {
    cells <- SimulateCells("three_clusters", n_cells = 60, n_genes = 40, modality = list(kind = "protein", n = 10), as = "list")
    expect_identical(dim(cells$second), c(10L, 60L))
    given <- list(preset = "three_clusters", n_cells = 60, n_genes = 40, level = 5, as = "list")
    lost <- do.call(SimulateCells, c(given, list(dropout_curve = list(mid = 10))))
    expect_lt(sum(lost$measured@x != 0), 0.1 * sum(do.call(SimulateCells, given)$measured@x != 0))
})

test_that("every preset simulates", {
    presets <- SimulationPresets()
    expect_named(presets, c("preset", "description"))
    for (preset in presets$preset) {
        cells <- SimulateCells(preset, n_cells = 120, n_genes = 120, as = "list")
        expect_gte(ncol(cells$measured), 100)
        expect_identical(rownames(cells$obs), colnames(cells$measured))
    }
})

test_that("what cannot be simulated is refused", {
    shortened <- function(lines) sub("(the presets are|the settings are): .*", "\\1: ...", lines)
    expect_snapshot({
        refusal(SimulateCells("five_circles"))
        refusal(SimulateCells(n_cell = 3))
        refusal(SimulateCells(magic = 3))
        refusal(SimulateCells(n_cells = 0))
        refusal(SimulateCells(dropout = 2))
        refusal(SimulateCells(layers = "noise"))
        refusal(SimulateCells(seed.use = -1))
    }, transform = shortened)
})

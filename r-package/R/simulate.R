#' Simulate cells with a known truth
#'
#' Clusters, trajectories, loops, trees, groups of counts, lineage-barcoded time courses and paired assays, in batches with effects.
#'
#' @param preset One of [SimulationPresets()], or `NULL` for settings of your own.
#' @param ... Settings by name that differ from the preset's, e.g. `n_cells = 500`, `n_genes = 200`, `seed = 3`, `dropout = 0.2`, `batches = list(n = 3)`.
#' @param layers Layers beside the measured values: `"no_noise"`, the truth, and `"wt_noise"`, noise without batch effects.
#' @param as `"Seurat"`, `"SingleCellExperiment"` or `"list"`.
#' @param seed.use Seed of all draws.
#' @return An object with the measured values as data (as counts where they are whole numbers), the truth in the cells' table (`batch`, and as the structure
#'   has it `cell_type`, `branch`, `time`, `clone`, `fate`), layers as assays of their own (Seurat: `no_noise`), and a second assay where the preset has one.
#' @examples
#' cells <- SimulateCells("three_clusters", n_cells = 100, n_genes = 50)
#' table(cells$cell_type)
#' @family simulation
#' @export
SimulateCells <- function(preset = "five_clusters_two_batches", ..., layers = "no_noise", as = c("Seurat", "SingleCellExperiment", "list"), seed.use = 0) {
    as <- match.arg(as)
    settings <- check_settings(list(...))
    if (is.null(settings$seed)) {
        settings$seed <- check_count(seed.use, least = 0)
    }
    out <- call_rust(rust_simulate, list(preset = check_string(preset, null = TRUE), settings = settings, layers = as.character(layers)))
    sparse <- function(parts, features) {
        new("dgCMatrix", p = parts$p, i = parts$i, x = parts$x, Dim = parts$dim, Dimnames = list(features, out$cells))
    }
    cells <- list(
        measured = sparse(out$counts, out$features), layers = lapply(out$layers, sparse, features = NULL), obs = truth_table(out$obs, out$cells),
        second = if (!is.null(out$second)) sparse(out$second$counts, out$second$features), label = out$label
    )
    cells$layers <- lapply(cells$layers, function(m) {
        rownames(m) <- out$features[seq_len(nrow(m))]
        m
    })
    switch(as, Seurat = simulated_seurat(cells), SingleCellExperiment = simulated_sce(cells), list = cells)
}

#' @rdname SimulateCells
#' @export
SimulationPresets <- function() {
    as.data.frame(rust_simulate_presets())
}

truth_table <- function(obs, cells) {
    column <- function(x) if (is.list(x)) factor(x$levels[x$codes], levels = x$levels) else x
    data.frame(lapply(obs, column), row.names = cells)
}

are_counts <- function(x) all(x@x >= 0 & x@x == round(x@x))

simulated_seurat <- function(cells) {
    name <- function(x) {
        rownames(x) <- gsub("_", "-", rownames(x), fixed = TRUE)
        x
    }
    assay <- function(x, key) new_assay(name(x), key, counts = are_counts(x))
    object <- SeuratObject::CreateSeuratObject(assay(cells$measured, "rna"), assay = "RNA", meta.data = cells$obs)
    for (layer in names(cells$layers)) {
        object[[layer]] <- new_assay(name(cells$layers[[layer]]), layer)
    }
    if (!is.null(cells$second)) {
        object[["second"]] <- assay(cells$second, "second")
    }
    object
}

simulated_sce <- function(cells) {
    values <- stats::setNames(list(cells$measured), if (are_counts(cells$measured)) "counts" else "logcounts")
    object <- SingleCellExperiment::SingleCellExperiment(values, colData = S4Vectors::DataFrame(cells$obs))
    for (layer in names(cells$layers)) {
        SingleCellExperiment::altExp(object, layer) <- SingleCellExperiment::SingleCellExperiment(list(logcounts = cells$layers[[layer]]))
    }
    if (!is.null(cells$second)) {
        SingleCellExperiment::altExp(object, "second") <- SingleCellExperiment::SingleCellExperiment(list(counts = cells$second))
    }
    object
}

#' Integrate cells by CONCORD
#'
#' Trains CONCORD (Zhu et al. 2025, <doi:10.1038/s41587-025-02950-z>) and adds its embedding to the object. Two randomly masked views of each cell are
#' brought together, mini-batches are drawn within batches, so that what tells cells apart is biology and not the experiment.
#'
#' Counts are scaled to 10,000 per cell and log-transformed, other values are taken as they are. The object's own values are never
#' changed. Coordinates are not normalised: compare cells by their cosine, `RunUMAP(..., metric = "cosine")`.
#'
#' @section Memory:
#' Beside the object: 8 bytes for each value of the features trained on (up to 16 while they are picked) and about 16 MB per million weights of the
#' model. A `dgCMatrix` is read where it is; a dense, integer or logical matrix is converted once, 12 bytes per value that is not zero. A matrix of
#' BPCells or a DelayedMatrix goes over by blocks of cells: 8 bytes for each value of all features that is not zero and for each cell, and a few
#' blocks of about 40 MB. So 100,000 cells with 2,000 values each take 1.6 GB, and 0.4 GB more to train on a
#' quarter of them. BPCells is fast where cells are stored one after the other (`storage_order(x) == "col"`), else
#' use its `transpose_storage_order()` first.
#'
#' @section Interrupting:
#' Ctrl-C ends training within a second; the object comes back with the embedding of what was trained so far, and a warning.
#'
#' @section Reproducibility:
#' The same data, settings and `seed.use` give the same embedding, to the bit, for any number of threads, and the same as the command line
#' `tutti concord`.
#'
#' @param object A Seurat object, a SingleCellExperiment, or a matrix of features x cells: dense, `dgCMatrix` or another class of Matrix, or one of
#'   BPCells or DelayedArray, which stays on disk.
#' @param group.by Column or columns of the cells' table with the batch: the most granular one, such as the sample. `NULL` takes all cells as
#'   one batch. For a matrix: one value per cell, joined by name where it has names.
#' @param ... Settings of CONCORD by name, see [ConcordSettings()], e.g. `latent_dim = 30`, `n_epochs = 30`, `use_decoder = TRUE`.
#' @param label.by Column with the class of each cell (for a matrix: one value per cell), which trains a classifier; `NA` are cells without a
#'   label.
#' @param assay,layer What to read. Default: the default assay, and its counts, or where it has none its data. Layers split by batch are
#'   read together.
#' @param features Features to train on. Default: the object's variable features, or where it has none `n.features` highly variable ones.
#' @param n.features Highly variable features to pick instead; 0 takes all. Default 2000.
#' @param normalize What is done to the values: `"auto"` log-normalises counts and leaves other values as they are, `"log-normalize"` refuses what is no counts,
#'   `"binarize"` takes what is above 0 as 1. The model does the same to new cells.
#' @param preset `"hard-negative"` is the published default, `"knn"` the preprint's: mini-batches enriched for neighbourhoods.
#' @param graph.reduction Name of a reduction whose neighbourhoods compose the mini-batches, for `preset = "knn"`. Default: the model's own after
#'   two epochs.
#' @param reduction.name,reduction.key Name and key of the reduction.
#' @param seed.use Seed of all random draws.
#' @param threads Threads; default the option `tutti.threads`, else all processors.
#' @param verbose Say what is done and show progress.
#' @return The object with a reduction `reduction.name` (SingleCellExperiment: a reduced dimension, in capitals), n_cells x latent_dim, and the model
#'   within, see [GetModel()]. With `label.by`, columns `concord_class` and `concord_class_probability` are added. A matrix gives an object of class
#'   `tutti_embedding` with `embedding`, `model` and `history`.
#' @examples
#' pbmc <- SeuratObject::pbmc_small
#' pbmc <- RunConcord(pbmc, group.by = "groups", n_epochs = 2, latent_dim = 10, verbose = FALSE)
#' pbmc[["concord"]]
#' @family integration
#' @export
RunConcord <- function(object, ...) {
    UseMethod("RunConcord")
}

#' @rdname RunConcord
#' @export
RunConcord.default <- function(object, group.by = NULL, ..., label.by = NULL, features = NULL, n.features = NULL, normalize = "auto",
                               preset = "hard-negative", graph = NULL, seed.use = 42, threads = NULL, verbose = TRUE) {
    input <- cells_input(list(object))
    input$columns <- given_columns(group.by, label.by, input$cells)
    run_system("concord", input, list(...), features, n.features, preset, graph, seed.use, threads, verbose, normalize = normalize)
}

#' @rdname RunConcord
#' @param graph For a matrix: an embedding, one row per cell, in place of `graph.reduction`.
#' @export
RunConcord.Seurat <- function(object, group.by, ..., label.by = NULL, assay = NULL, layer = NULL, features = NULL, n.features = NULL,
                              normalize = "auto", preset = "hard-negative", graph.reduction = NULL, reduction.name = "concord",
                              reduction.key = "CONCORD_", seed.use = 42, threads = NULL, verbose = TRUE) {
    if (missing(group.by)) {
        abort_no_batch(object[[]], "meta.data")
    }
    out <- run_seurat("concord", object, group.by, label.by, assay, layer, features, n.features, preset, graph.reduction, list(...), seed.use, threads, verbose, normalize = normalize)
    assay <- out$assay
    arguments <- setdiff(names(formals()), c("object", "..."))
    params <- c(mget(arguments), list(...))
    log_command(add_to_seurat(object, out, reduction.name, reduction.key), "RunConcord", params, sys.call())
}

#' @rdname RunConcord
#' @export
RunConcord.SingleCellExperiment <- function(object, group.by, ..., label.by = NULL, assay = NULL, features = NULL, n.features = NULL,
                                            normalize = "auto", preset = "hard-negative", graph.reduction = NULL, reduction.name = "CONCORD", seed.use = 42,
                                            threads = NULL, verbose = TRUE) {
    if (missing(group.by)) {
        abort_no_batch(as.data.frame(SummarizedExperiment::colData(object)), "colData")
    }
    input <- sce_input(object, assay, Filter(Negate(is.null), list(group.by = group.by, label.by = label.by)))
    graph <- if (is.null(graph.reduction)) NULL else sce_reduction(object, graph.reduction)
    out <- run_system("concord", input, list(...), features, n.features, preset, graph, seed.use, threads, verbose, normalize = normalize)
    add_to_sce(object, out, reduction.name)
}

#' Integration method for `IntegrateLayers` of Seurat 5
#'
#' `IntegrateLayers(object, method = ConcordIntegration, new.reduction = "concord")` on an object whose assay is split by batch
#' (`object[["RNA"]] <- split(object[["RNA"]], f = object$batch)`). Written to the published contract of Seurat 5 and tested with stand-ins of its
#' classes; it was run with Seurat 4 only.
#'
#' @param object An `Assay5` or `SCTAssay`.
#' @param assay Its name.
#' @param orig Not used: CONCORD starts from expression.
#' @param layers Layers to integrate, one per batch. Default: the counts.
#' @param scale.layer Not used.
#' @param features Features to train on.
#' @param new.reduction Name of the new reduction.
#' @param key Its key.
#' @param groups A data frame with one row per cell and one column, the batch, instead of the layers.
#' @inheritParams RunConcord
#' @return A list with the new reduction, as `IntegrateLayers` expects.
#' @family integration
#' @export
ConcordIntegration <- function(object, assay = NULL, orig = NULL, layers = NULL, scale.layer = NULL, features = NULL,
                               new.reduction = "integrated.concord", key = "concord_", groups = NULL, seed.use = 42, threads = NULL,
                               verbose = TRUE, normalize = "auto", preset = "hard-negative", ...) {
    chosen <- integration_layers(layers_there(object), layers)
    if (length(chosen) < 2 && is.null(groups)) {
        abort_tutti("argument", "the assay has one layer; split it by batch, `object[[\"RNA\"]] <- split(object[[\"RNA\"]], f = object$batch)`, or use `RunConcord(group.by = )`.")
    }
    matrices <- lapply(chosen, function(l) layer_data(object, l))
    input <- cells_input(matrices, origin = sprintf("layer `%s`", paste(chosen, collapse = "`, `")), choose = "`layers`")
    batch <- if (is.null(groups)) {
        factor(rep(chosen, vapply(matrices, ncol, 0L)), levels = chosen)
    } else {
        cell_vector(stats::setNames(as.character(groups[[1]]), rownames(groups)), input$cells, "groups", rlang::current_env())
    }
    input$columns <- list(group.by = batch)
    out <- run_system("concord", input, list(...), features, NULL, preset, NULL, seed.use, threads, verbose, normalize = normalize)
    cells <- intersect(colnames(object), input$cells)
    reduction <- new_reduction(out, if (is.null(assay)) "RNA" else assay, key, cells)
    stats::setNames(list(reduction), new.reduction)
}
attr(ConcordIntegration, "Seurat.method") <- "integration"

# IntegrateLayers hands over the data layers; the counts of the same parts are what is normalised alike in all of them.
integration_layers <- function(there, layers) {
    counts <- there[there == "counts" | startsWith(there, "counts.")]
    if (is.null(layers)) {
        return(if (length(counts) > 0) counts else there[startsWith(there, "data")])
    }
    part <- function(layer) sub("^[^.]*", "", layer)
    same <- counts[match(part(layers), part(counts))]
    if (anyNA(same)) layers else same
}

#' Settings of CONCORD
#'
#' @param preset As in [RunConcord()].
#' @param ... Settings to change.
#' @return A named list of all settings with their values. Wrong names and ranges are errors, settings that rarely help together a warning.
#' @examples
#' str(ConcordSettings(latent_dim = 30)[c("latent_dim", "temperature", "n_epochs")])
#' @family integration
#' @export
ConcordSettings <- function(preset = "hard-negative", ...) {
    out <- call_rust(rust_concord_settings, check_string(preset), check_settings(list(...)))
    for (message in out$warnings) {
        warn_tutti(message)
    }
    out$settings
}

#' Batch-corrected expression
#'
#' Expression as the model's decoder gives it, as if all cells came from one batch. Needs a model trained with `use_decoder = TRUE`.
#'
#' Values are log-normalised, dense and smooth: they are meant for figures and for comparing groups of cells, not for tests of differential
#' expression, which need counts.
#'
#' @param object A Seurat object or SingleCellExperiment that [RunConcord()] returned, or its result for a matrix.
#' @param batch The batch that all cells are decoded as. Default: the first of the model.
#' @param reduction As in [GetModel()].
#' @param new.assay Name of the new assay.
#' @param threads As in [RunConcord()].
#' @return The object with an assay `new.assay` of the model's features, in its data (SingleCellExperiment: an alternative experiment, as it has fewer
#'   features); for a matrix, features x cells.
#' @examples
#' pbmc <- RunConcord(
#'     SeuratObject::pbmc_small, group.by = "groups", n_epochs = 2, latent_dim = 10,
#'     use_decoder = TRUE, verbose = FALSE
#' )
#' pbmc <- CorrectExpression(pbmc, batch = "g1")
#' pbmc[["concord.corrected"]]
#' @family models
#' @export
CorrectExpression <- function(object, batch = NULL, reduction = NULL, new.assay = "concord.corrected", threads = NULL) {
    model <- stored(object, reduction, "model", rlang::current_env())
    info <- call_rust(rust_model_info, model_raw(model))
    embedding <- if (inherits(object, "tutti_embedding")) object$embedding else reference_cells(object, reduction, NULL, NULL, rlang::current_env())$embedding
    if (!isTRUE(info$settings$use_decoder)) {
        abort_tutti("argument", "the model has no decoder; train it with `use_decoder = TRUE`.")
    }
    batch <- if (is.null(batch)) info$batches[[1]] else check_string(batch)
    values <- call_rust(rust_model_decode, model_raw(model), embedding, list(batch = batch, threads = tutti_threads(threads)))
    dimnames(values) <- list(info$features, rownames(embedding))
    if (methods::is(object, "Seurat")) {
        object[[new.assay]] <- new_assay(values[, colnames(object), drop = FALSE], new.assay)
        return(object)
    }
    if (methods::is(object, "SingleCellExperiment")) {
        decoded <- SingleCellExperiment::SingleCellExperiment(list(logcounts = values[, colnames(object), drop = FALSE]))
        SingleCellExperiment::altExp(object, new.assay) <- decoded
        return(object)
    }
    values
}

#' What drives each dimension of an embedding
#'
#' The gradient of each latent dimension (or neuron of a hidden layer) with respect to each gene, the mean over cells.
#'
#' @param object An object that [RunConcord()] returned. For a matrix, give the model as `model`.
#' @param reduction As in [GetModel()].
#' @param cells Names of the cells to take the mean over. Default all.
#' @param encoder.layer Layer of the encoder, from 0; default the latent one.
#' @param assay,layer Assay and layer to read.
#' @param model A model, or an object with one, instead of the object's own.
#' @param threads As in [RunConcord()].
#' @return Matrix of features x dimensions.
#' @examples
#' pbmc <- RunConcord(
#'     SeuratObject::pbmc_small, group.by = "groups", n_epochs = 2, latent_dim = 10,
#'     verbose = FALSE
#' )
#' attribution <- GeneAttribution(pbmc)
#' head(sort(attribution[, 1], decreasing = TRUE))
#' @family models
#' @export
GeneAttribution <- function(object, reduction = NULL, cells = NULL, encoder.layer = NULL, assay = NULL, layer = NULL, model = NULL,
                            threads = NULL) {
    model <- stored(if (is.null(model)) object else model, reduction, "model", rlang::current_env())
    if (!is.null(cells)) {
        unknown <- setdiff(cells, colnames(object))
        if (length(unknown) > 0) {
            abort_tutti("argument", sprintf("`cells` has %s, which the object has not.", unknown[[1]]))
        }
        object <- object[, cells]
    }
    input <- if (methods::is(object, "Seurat")) {
        seurat_input(object, assay, layer, list())
    } else if (methods::is(object, "SingleCellExperiment")) {
        sce_input(object, assay, list())
    } else {
        cells_input(list(object))
    }
    info <- call_rust(rust_model_info, model_raw(model))
    last <- length(info$settings$encoder_dims)
    at <- if (is.null(encoder.layer)) last else check_count(encoder.layer, least = 0)
    if (at > last) {
        abort_tutti("argument", sprintf("`encoder.layer` %d does not exist; the encoder has layers 0 to %d.", at, last))
    }
    out <- call_rust(rust_model_attribution, model_raw(model), input, list(layer = at, threads = tutti_threads(threads)))
    for (note in out$notes) {
        warn_tutti(note)
    }
    prefix <- if (at == last) toupper(model$system) else "neuron"
    dimnames(out$attribution) <- list(info$features, paste0(prefix, "_", seq_len(ncol(out$attribution))))
    out$attribution
}

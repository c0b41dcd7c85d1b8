# A model is a raw vector with a class: saveRDS and copies of objects keep it whole.

new_model <- function(system, raw) {
    structure(list(system = system, raw = raw), class = "tutti_model")
}

model_raw <- function(model, call = rlang::caller_env()) {
    if (!inherits(model, "tutti_model")) {
        abort_tutti("argument", sprintf("`model` is %s; give what GetModel() or LoadTutti() returns.", said(model)), call)
    }
    model$raw
}

#' The model behind an embedding
#'
#' @param object What [RunConcord()] returned, or an object that it changed.
#' @param reduction Name of the reduction.
#' @return An object of class `tutti_model`; printing it says what it is, and it survives [saveRDS()].
#' @examples
#' pbmc <- RunConcord(
#'     SeuratObject::pbmc_small, group.by = "groups", n_epochs = 2, latent_dim = 10,
#'     verbose = FALSE
#' )
#' GetModel(pbmc)
#' @family models
#' @export
GetModel <- function(object, reduction = NULL) {
    stored(object, reduction, "model", rlang::current_env())
}

#' The training history behind an embedding
#'
#' @inheritParams GetModel
#' @return A data frame with one row per epoch: `epoch`, `loss` (total), `validation_loss`, `learning_rate` and each loss by name, unweighted.
#' @examples
#' pbmc <- RunConcord(
#'     SeuratObject::pbmc_small, group.by = "groups", n_epochs = 2, latent_dim = 10,
#'     verbose = FALSE
#' )
#' TrainingHistory(pbmc)
#' @family models
#' @export
TrainingHistory <- function(object, reduction = NULL) {
    if (inherits(object, "tutti_model")) {
        return(as.data.frame(call_rust(rust_model_info, object$raw)$history))
    }
    stored(object, reduction, "history", rlang::current_env())
}

stored <- function(object, reduction, what, call) {
    if (inherits(object, "tutti_model") && what == "model") {
        return(object)
    }
    if (inherits(object, "tutti_embedding")) {
        return(object[[what]])
    }
    held <- if (methods::is(object, "Seurat")) {
        reductions <- SeuratObject::Reductions(object)
        stats::setNames(lapply(reductions, function(r) SeuratObject::Misc(object[[r]])$tutti), reductions)
    } else if (methods::is(object, "SingleCellExperiment")) {
        S4Vectors::metadata(object)$tutti
    } else if (methods::is(object, "DimReduc")) {
        list(reduction = SeuratObject::Misc(object)$tutti)
    } else {
        abort_tutti("argument", sprintf("`object` is of class %s; give an object that RunConcord() returned.", class(object)[[1]]), call)
    }
    held <- Filter(Negate(is.null), held)
    if (length(held) == 0) {
        abort_tutti("argument", "`object` has no model; run RunConcord() first.", call)
    }
    if (is.null(reduction)) {
        return(held[[length(held)]][[what]])
    }
    if (!reduction %in% names(held)) {
        abort_tutti("argument", sprintf("reduction `%s` has no model; those that have one: %s.", reduction, paste(names(held), collapse = ", ")), call)
    }
    held[[reduction]][[what]]
}

#' Save a model to a file, and load it
#'
#' The file is the one that the command line `tutti concord --save-model` writes and `tutti predict` reads.
#'
#' @param model An object of class `tutti_model`, or one that [GetModel()] takes.
#' @param file Path of the file.
#' @return `SaveTutti`: the path, invisibly. `LoadTutti`: an object of class `tutti_model`.
#' @examples
#' result <- RunConcord(
#'     SeuratObject::pbmc_small, group.by = "groups", n_epochs = 2, latent_dim = 10,
#'     verbose = FALSE
#' )
#' file <- tempfile(fileext = ".safetensors")
#' SaveTutti(result, file)
#' LoadTutti(file)
#' @family models
#' @export
SaveTutti <- function(model, file) {
    raw <- model_raw(GetModel(model))
    # Beside the target first: a killed session leaves the old file or the new one.
    part <- paste0(check_string(file), ".part")
    written <- tryCatch({
        writeBin(raw, part)
        file.rename(part, file)
    }, error = function(e) FALSE, warning = function(w) FALSE)
    if (!written) {
        abort_tutti("file", sprintf("%s could not be written; is its folder there, and writable?", file))
    }
    invisible(file)
}

#' @rdname SaveTutti
#' @export
LoadTutti <- function(file) {
    if (!file.exists(check_string(file))) {
        abort_tutti("file", sprintf("there is no file %s.", file))
    }
    raw <- readBin(file, "raw", file.size(file))
    info <- call_rust(rust_model_info, raw)
    new_model(info$system, raw)
}

#' @export
print.tutti_model <- function(x, ...) {
    info <- call_rust(rust_model_info, x$raw)
    parts <- if (is.null(info$lineages)) sprintf("%d batches", length(info$batches)) else sprintf("%g lineages", info$lineages$n_lineages)
    cat(sprintf("%s model: %d features to %g dimensions, trained for %d epochs on %s\n", toupper(info$system), length(info$features), info$settings$latent_dim, length(info$history$epoch), parts))
    if (length(info$classes) > 0) {
        cat(sprintf("Classes: %s\n", paste(info$classes, collapse = ", ")))
    }
    cat(if (info$log1p) sprintf("Trained on counts scaled to %g per cell and log-transformed\n", info$target_sum) else "Trained on values as they were\n")
    invisible(x)
}

#' @export
summary.tutti_model <- function(object, ...) {
    call_rust(rust_model_info, object$raw)
}

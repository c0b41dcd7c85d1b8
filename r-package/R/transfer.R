#' Map new cells into the embedding of a reference
#'
#' Embeds the query by the reference's model: no training, and the reference does not move. With `label.by`, labels are transferred too.
#'
#' Genes are joined by name; those that the query lacks are taken as zero, and said. The query's values go through what the reference's went
#' through (counts are scaled and log-transformed).
#'
#' @param query New cells: a Seurat object, a SingleCellExperiment or a matrix of features x cells.
#' @param reference What [RunConcord()] returned: the object, or the model alone ([GetModel()], [LoadTutti()]), from which labels come by the
#'   classifier only.
#' @param label.by Column of the reference with the labels to transfer, or several; `NA` and an empty text are no label.
#' @param reduction Reduction of the reference that the model is behind. Default: the last one trained.
#' @param assay,layer What to read of the query.
#' @param reduction.name,reduction.key Name and key of the new reduction.
#' @param projection Reduction of the reference to project the query into as well, e.g. `"umap"`: the mean of the nearest reference cells.
#' @param min.overlap Smallest share of the model's genes that the query must have.
#' @param n.neighbors Reference cells that vote: the nearest by cosine, or by the metric of a model of [RunCellPredX()], see there.
#' @param threads,verbose As in [RunConcord()].
#' @param ... Not used.
#' @return The query with a reduction `ref.concord`, for each label the columns `predicted.<label>`, `predicted.<label>.score` and
#'   `predicted.<label>.novelty` and an assay `prediction.score.<label>` (Seurat), and the reduction `ref.<projection>`. A matrix gives a list with
#'   `embedding` and one data frame per label, see [TransferLabels()].
#' @examples
#' pbmc <- SeuratObject::pbmc_small
#' reference <- RunConcord(
#'     pbmc[, 1:60], group.by = "groups", n_epochs = 3, latent_dim = 10, verbose = FALSE
#' )
#' query <- MapToReference(pbmc[, 61:80], reference, label.by = "letter.idents", verbose = FALSE)
#' table(query$predicted.letter.idents)
#' @family transfer
#' @export
MapToReference <- function(query, reference, label.by = NULL, reduction = NULL, ...) {
    UseMethod("MapToReference")
}

#' @rdname MapToReference
#' @export
MapToReference.default <- function(query, reference, label.by = NULL, reduction = NULL, n.neighbors = 5, min.overlap = 0.5, projection = NULL,
                                   threads = NULL, verbose = TRUE, ...) {
    map_cells(cells_input(list(query), origin = "`query`"), reference, label.by, reduction, n.neighbors, min.overlap, projection, threads, verbose)
}

#' @rdname MapToReference
#' @export
MapToReference.Seurat <- function(query, reference, label.by = NULL, reduction = NULL, assay = NULL, layer = NULL,
                                  reduction.name = "ref.concord", reduction.key = "refCONCORD_", n.neighbors = 5, min.overlap = 0.5,
                                  projection = NULL, threads = NULL, verbose = TRUE, ...) {
    input <- seurat_input(query, assay, layer, list())
    mapped <- map_cells(input, reference, label.by, reduction, n.neighbors, min.overlap, projection, threads, verbose)
    cells <- colnames(query)
    reduced <- function(x, key) {
        x <- x[cells, , drop = FALSE]
        colnames(x) <- paste0(key, seq_len(ncol(x)))
        SeuratObject::CreateDimReducObject(embeddings = x, assay = input$assay, key = key)
    }
    query[[reduction.name]] <- reduced(mapped$embedding, reduction.key)
    if (!is.null(mapped$projection)) {
        query[[paste0("ref.", projection)]] <- reduced(mapped$projection, paste0("ref", toupper(gsub("[^A-Za-z0-9]", "", projection)), "_"))
    }
    for (label in names(mapped$labels)) {
        query <- add_prediction(query, mapped$labels[[label]], label)
    }
    query
}

#' @rdname MapToReference
#' @export
MapToReference.SingleCellExperiment <- function(query, reference, label.by = NULL, reduction = NULL, assay = NULL,
                                                reduction.name = "REF_CONCORD", n.neighbors = 5, min.overlap = 0.5, projection = NULL,
                                                threads = NULL, verbose = TRUE, ...) {
    mapped <- map_cells(sce_input(query, assay, list()), reference, label.by, reduction, n.neighbors, min.overlap, projection, threads, verbose)
    SingleCellExperiment::reducedDim(query, reduction.name) <- mapped$embedding[colnames(query), , drop = FALSE]
    if (!is.null(mapped$projection)) {
        SingleCellExperiment::reducedDim(query, paste0("REF_", toupper(projection))) <- mapped$projection[colnames(query), , drop = FALSE]
    }
    for (label in names(mapped$labels)) {
        columns <- prediction_columns(mapped$labels[[label]], label)
        for (name in names(columns)) {
            SummarizedExperiment::colData(query)[[name]] <- columns[[name]]
        }
    }
    query
}

map_cells <- function(input, reference, label.by, reduction, n.neighbors, min.overlap, projection, threads, verbose, call = rlang::caller_env()) {
    model <- stored(reference, reduction, "model", call)
    options <- list(min_overlap = check_share(min.overlap, call = call), threads = tutti_threads(threads, call))
    out <- call_rust(rust_model_embed, model_raw(model), input, options, .call = call)
    if (verbose) {
        for (note in out$notes) {
            warn_tutti(note)
        }
    }
    rownames(out$embedding) <- input$cells
    colnames(out$embedding) <- paste0(toupper(model$system), "_", seq_len(ncol(out$embedding)))
    mapped <- list(embedding = out$embedding, labels = list())
    classes <- class_table(out$probabilities, input$cells)
    if (is.null(label.by) && !is.null(classes)) {
        mapped$labels <- list(class = classifier_prediction(classes, input$cells))
    }
    if (!is.null(label.by) || !is.null(projection)) {
        known <- reference_cells(reference, reduction, label.by, projection, call)
        neighbors <- list(n_neighbors = check_count(n.neighbors, call = call), metric = out$metric, threads = options$threads)
        for (label in label.by) {
            labels <- named_labels(known$columns[[label]], label)
            mapped$labels[[label]] <- vote(known$embedding, labels, out$embedding, neighbors, call)
        }
        if (!is.null(projection)) {
            values <- call_rust(rust_transfer_values, known$embedding, known$projection, out$embedding, neighbors, .call = call)
            mapped$projection <- matrix(values, ncol = ncol(known$projection), dimnames = list(input$cells, colnames(known$projection)))
        }
    }
    mapped
}

classifier_prediction <- function(classes, cells) {
    scores <- classes$values
    colnames(scores) <- paste0("prediction.score.", colnames(scores))
    data.frame(predicted.id = as.character(classes$class), scores, prediction.score.max = classes$probability, row.names = cells, check.names = FALSE)
}

# Embedding and columns of the reference's own cells.
reference_cells <- function(reference, reduction, label.by, projection, call) {
    if (methods::is(reference, "Seurat")) {
        reductions <- SeuratObject::Reductions(reference)
        trained <- Filter(function(r) !is.null(SeuratObject::Misc(reference[[r]])$tutti), reductions)
        name <- if (is.null(reduction)) trained[[length(trained)]] else reduction
        cells <- colnames(reference)
        columns <- lapply(label.by, function(l) table_column(reference[[]], l, cells, "the reference's meta.data", call))
        projected <- if (!is.null(projection)) seurat_reduction(reference, projection, cells, call)
        return(list(embedding = seurat_reduction(reference, name, cells, call), columns = stats::setNames(columns, label.by), projection = projected))
    }
    if (methods::is(reference, "SingleCellExperiment")) {
        held <- names(S4Vectors::metadata(reference)$tutti)
        name <- if (is.null(reduction)) held[[length(held)]] else reduction
        table <- as.data.frame(SummarizedExperiment::colData(reference), optional = TRUE)
        columns <- lapply(label.by, function(l) table_column(table, l, rownames(table), "the reference's colData", call))
        projected <- if (!is.null(projection)) sce_reduction(reference, projection, call)
        return(list(embedding = sce_reduction(reference, name, call), columns = stats::setNames(columns, label.by), projection = projected))
    }
    abort_tutti("argument", "labels and projections come from cells; give the reference as an object, not its model alone, or use TransferLabels() with vectors.", call)
}

#' Transfer labels between cells of one embedding
#'
#' Each query cell takes the label for which its nearest reference cells vote, weighted by their similarity: the cosine, or 1 / (1 + distance).
#'
#' With `held.out` above 0 that share of each class does not vote: on these cells the votes are calibrated to probabilities (one temperature), and limits of
#' the probability and of the novelty chosen beyond which a cell is called unknown, as in [RunCellPredX()].
#'
#' @param reference Embedding of the reference, one row per cell.
#' @param labels Label of each reference cell; `NA` cells, and those of an empty text, do not vote. Joined by name where it has names.
#' @param query Embedding of the query.
#' @param n.neighbors Reference cells that vote.
#' @param metric `"cosine"`, by which the embeddings of [RunConcord()] and [RunLCL()] are trained, or `"euclidean"`, for that of [RunCellPredX()] with its
#'   default `preset` and for principal components.
#' @param held.out Share of each class of the reference that does not vote; 0 lets all cells vote and gives no probabilities.
#' @param false.rejection.rate,min.probability,max.novelty,reject,limits As in [RunCellPredX()]; they need `held.out`.
#' @param finer Finer label of each reference cell: each query cell gets one by vote among the reference cells of the label that it is called.
#' @param seed.use Names the draw of held-out cells.
#' @param threads As in [RunConcord()].
#' @return A data frame in the shape of Seurat's `TransferData`, one row per query cell: `predicted.id`, `prediction.score.<class>` (shares of the vote),
#'   `prediction.score.max`, and beside it `similarity` (the mean to the winning neighbours) and `novelty`: the share of reference cells that lie
#'   closer to their own neighbours than this cell does. Known cells have novelties all over 0 to 1; near 1 for many cells of a kind means that the
#'   reference has nothing like it. With `held.out` also `probability`, `runner.up`, `unknown` and `reason` (`novel` or `low_probability`), and the attribute
#'   `limits`, see [RunCellPredX()]. With `finer` also `finer.id`, `finer.score` and `finer.novelty`.
#' @examples
#' x <- matrix(rnorm(200), 40)
#' x[1:20, 1] <- x[1:20, 1] + 10
#' labels <- rep(c("a", "b"), c(20, 10))
#' TransferLabels(x[1:30, ], labels, x[31:40, ])$predicted.id
#' TransferLabels(x[1:30, ], labels, x[31:40, ], held.out = 0.5, false.rejection.rate = 0.2)$unknown
#' @family transfer
#' @export
TransferLabels <- function(reference, labels, query, n.neighbors = 5, metric = "cosine", held.out = 0, false.rejection.rate = 0.05,
                           min.probability = NULL, max.novelty = NULL, reject = TRUE, limits = "overall", finer = NULL, seed.use = 42, threads = NULL) {
    call <- rlang::current_env()
    reference <- number_matrix(reference)
    query <- number_matrix(query)
    cells <- if (is.null(rownames(reference))) as.character(seq_len(nrow(reference))) else rownames(reference)
    labels <- named_labels(cell_vector(labels, cells, "labels", call), "labels")
    finer <- cell_vector(finer, cells, "finer", call)
    options <- list(n_neighbors = check_count(n.neighbors), metric = check_string(metric), threads = tutti_threads(threads))
    asked <- check_limits(held.out, false.rejection.rate, min.probability, max.novelty, reject, limits, call)
    if (held.out == 0) {
        given <- c(min.probability = !is.null(min.probability), max.novelty = !is.null(max.novelty), limits = limits != "overall", finer = !is.null(finer))
        if (any(given)) {
            abort_tutti("argument", sprintf("`%s` has no effect without `held.out`; give a share of cells that do not vote, e.g. 0.2.", names(which(given))[[1]]), call)
        }
        return(vote(reference, labels, query, options, call))
    }
    asked <- c(options, asked, list(labels = labels, finer = finer, seed = check_count(seed.use, least = 0)))
    out <- call_rust(rust_annotate_votes, reference, query, asked)
    for (message in out$named$warnings) {
        warn_tutti(message)
    }
    found <- vote(reference[out$voters, , drop = FALSE], labels[out$voters], query, options, call)
    annotation <- annotation_table(out$named, "label", if (!is.null(finer)) "finer", rownames(found))
    found$predicted.id <- as.character(annotation$predicted.label)
    found$novelty <- annotation$predicted.label.novelty
    found[c("probability", "runner.up", "unknown", "reason")] <- annotation[paste0("predicted.label.", c("score", "runner.up", "unknown", "reason"))]
    if (!is.null(finer)) {
        found[c("finer.id", "finer.score", "finer.novelty")] <- annotation[c("predicted.finer", "predicted.finer.score", "predicted.finer.novelty")]
    }
    structure(found, limits = limits_of(out$named))
}

vote <- function(reference, labels, query, options, call) {
    out <- call_rust(rust_transfer_labels, number_matrix(reference), labels, number_matrix(query), options, .call = call)
    scores <- out$scores
    colnames(scores) <- paste0("prediction.score.", out$levels)
    cells <- if (is.null(rownames(query))) as.character(seq_len(nrow(query))) else rownames(query)
    data.frame(predicted.id = out$levels[out$label], scores, prediction.score.max = out$confidence, similarity = out$similarity, novelty = out$novelty, row.names = cells, check.names = FALSE)
}

prediction_columns <- function(prediction, label) {
    columns <- list(prediction$predicted.id, prediction$prediction.score.max, prediction$novelty)
    names(columns) <- paste0("predicted.", label, c("", ".score", ".novelty"))
    Filter(Negate(is.null), columns)
}

# As MapQuery does: columns, and an assay of the scores of all classes.
add_prediction <- function(query, prediction, label) {
    columns <- prediction_columns(prediction, label)
    for (name in names(columns)) {
        query[[name]] <- stats::setNames(columns[[name]], rownames(prediction))
    }
    of_class <- setdiff(grep("^prediction\\.score\\.", colnames(prediction), value = TRUE), "prediction.score.max")
    scores <- t(as.matrix(prediction[colnames(query), of_class, drop = FALSE]))
    # Seurat has no underscores in names of features and would warn of each.
    rownames(scores) <- gsub("_", "-", sub("^prediction\\.score\\.", "", rownames(scores)), fixed = TRUE)
    name <- paste0("prediction.score.", label)
    query[[name]] <- new_assay(scores, name)
    query
}

# A matrix of doubles without missing values.
number_matrix <- function(x, name = deparse(substitute(x)), call = rlang::caller_env()) {
    x <- as.matrix(x)
    if (!is.numeric(x) && !is.logical(x)) {
        abort_tutti("argument", sprintf("`%s` must be a matrix of numbers, one row per cell.", name), call)
    }
    storage.mode(x) <- "double"
    x
}

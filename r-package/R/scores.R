#' Score an integration
#'
#' The scIB suite (Luecken et al. 2022) for any embedding, of tutti or another tool: how well cell types are kept, how well batches are mixed, and
#' with a known truth how well geometry and topology are kept. More is better, 1 is the best; all are 0 or above, but for the adjusted Rand index and
#' correlations, which may fall below where there is nothing but chance.
#'
#' @param object A Seurat object or SingleCellExperiment, or a named list of embeddings, one row per cell.
#' @param reductions Names of the reductions to score. Default: all.
#' @param label.by,group.by Columns with cell type and batch; for a list, one value per cell.
#' @param before Reduction before integration (a matrix for a list), for the comparison of principal components.
#' @param truth Matrix of what the cells truly are, one row per cell, where it is known, e.g. from [SimulateCells()].
#' @param betti Betti numbers that the data truly have: components less one, loops, cavities.
#' @param metric `"euclidean"`, as scIB, or `"cosine"`.
#' @param seed.use,threads As in [RunConcord()].
#' @return A data frame of class `tutti_scores`, one row per score: `family`, `score`, `title`, `is_aggregate`, and one column per embedding, best total
#'   first.
#' @examples
#' pbmc <- SeuratObject::pbmc_small
#' ScoreIntegration(pbmc, reductions = "pca", label.by = "letter.idents", group.by = "groups")
#' @family evaluation
#' @export
ScoreIntegration <- function(object, reductions = NULL, label.by, group.by, before = NULL, truth = NULL, betti = NULL, metric = "euclidean",
                             seed.use = 42, threads = NULL) {
    label.by <- if (!missing(label.by)) label.by
    group.by <- if (!missing(group.by)) group.by
    given <- embeddings_of(object, reductions, label.by, group.by, before, rlang::current_env())
    options <- list(
        metric = check_string(metric), betti = check_betti(betti, 2), seed = check_count(seed.use, least = 0),
        threads = tutti_threads(threads)
    )
    truth <- if (!is.null(truth)) rows_by_name(number_matrix(truth), given$cells, "truth", rlang::current_env())
    one <- function(x) {
        input <- list(embedding = number_matrix(x), label = given$label, batch = given$batch, before = given$before, truth = truth)
        call_rust(rust_score, input, options, .call = rlang::caller_env(2))
    }
    scores <- lapply(given$embeddings, one)
    table <- as.data.frame(scores[[1]][c("family", "score", "title", "is_aggregate")])
    values <- lapply(scores, function(s) s$value)
    total <- vapply(values, function(v) v[table$score == "total"], 0)
    values <- values[order(-total, na.last = TRUE)]
    table[names(values)] <- values
    there <- rowSums(!is.na(table[names(values)])) > 0
    structure(table[there, , drop = FALSE], class = c("tutti_scores", "data.frame"), row.names = seq_len(sum(there)))
}

embeddings_of <- function(object, reductions, label.by, group.by, before, call) {
    if (methods::is(object, "Seurat")) {
        cells <- colnames(object)
        get <- function(name) seurat_reduction(object, name, cells, call)
        there <- SeuratObject::Reductions(object)
        table <- object[[]]
        where <- "meta.data"
    } else if (methods::is(object, "SingleCellExperiment")) {
        cells <- colnames(object)
        get <- function(name) sce_reduction(object, name, call)
        there <- SingleCellExperiment::reducedDimNames(object)
        table <- as.data.frame(SummarizedExperiment::colData(object), optional = TRUE)
        where <- "colData"
    } else if (is.list(object) && length(object) > 0 && !is.null(names(object))) {
        embeddings <- lapply(object, as.matrix)
        if (is.null(label.by) || is.null(group.by)) {
            absent <- if (is.null(label.by)) "label.by" else "group.by"
            abort_tutti("argument", sprintf("`%s` is missing; for a list of embeddings, give one value per cell.", absent), call)
        }
        named <- Filter(Negate(is.null), lapply(embeddings, rownames))
        cells <- if (length(named) > 0) named[[1]] else as.character(seq_len(nrow(embeddings[[1]])))
        aligned <- Map(function(x, name) rows_by_name(x, cells, name, call), embeddings, names(embeddings))
        label <- cell_vector(label.by, cells, "label.by", call)
        batch <- cell_vector(group.by, cells, "group.by", call)
        before <- if (!is.null(before)) rows_by_name(number_matrix(before, call = call), cells, "before", call)
        return(list(embeddings = aligned, label = label, batch = batch, before = before, cells = cells))
    } else {
        abort_tutti("argument", "`object` must be a Seurat object, a SingleCellExperiment or a named list of embeddings.", call)
    }
    reductions <- if (is.null(reductions)) there else reductions
    if (length(reductions) == 0) {
        abort_tutti("argument", "the object has no reductions to score.", call)
    }
    column <- function(name, argument) {
        if (is.null(name)) {
            abort_tutti("argument", sprintf("`%s` is missing: which column of %s is it? %s.", argument, where, candidates(table)), call)
        }
        table_column(table, name, cells, where, call)
    }
    before <- if (!is.null(before)) number_matrix(get(before))
    embeddings <- stats::setNames(lapply(reductions, get), reductions)
    list(embeddings = embeddings, label = column(label.by, "label.by"), batch = column(group.by, "group.by"), before = before, cells = cells)
}

# One Betti number for each dimension from 0.
check_betti <- function(betti, max.dim, call = rlang::caller_env()) {
    if (is.null(betti)) {
        return(NULL)
    }
    if (!is.numeric(betti) || length(betti) != max.dim + 1 || anyNA(betti) || any(betti < 0 | betti != round(betti))) {
        abort_tutti("argument", sprintf("`betti` must be %d whole numbers, one for each dimension from 0, e.g. c(0, 1, 0) for a loop.", max.dim + 1), call)
    }
    as.numeric(betti)
}

# Rows in the order of the cells where both have names.
rows_by_name <- function(x, cells, name, call) {
    if (is.null(rownames(x)) || identical(rownames(x), cells)) {
        return(x)
    }
    at <- match(cells, rownames(x))
    if (anyNA(at)) {
        abort_tutti("data", sprintf("`%s` has no row for cell %s.", name, cells[is.na(at)][[1]]), call)
    }
    x[at, , drop = FALSE]
}

#' @export
print.tutti_scores <- function(x, digits = 3, ...) {
    shown <- as.data.frame(x)[setdiff(names(x), c("score", "is_aggregate"))]
    numbers <- vapply(shown, is.numeric, NA)
    shown[numbers] <- lapply(shown[numbers], function(v) formatC(v, digits = digits, format = "f"))
    print(shown, row.names = FALSE, right = TRUE)
    invisible(x)
}

#' Holes of an embedding
#'
#' Vietoris-Rips persistent homology: components, loops and cavities, and how long they live.
#'
#' @param object A Seurat object or SingleCellExperiment with `reduction`, or an embedding, one row per cell.
#' @param reduction Name of the reduction.
#' @param max.dim Highest dimension: 0 components, 1 loops, 2 cavities.
#' @param max.points Cells at most; of more, as many are drawn. Time grows with more than their cube.
#' @param threshold Longest distance looked at. Default: as far as needed.
#' @param betti Betti numbers expected, for a score, one for each dimension up to `max.dim`: components less one, loops, cavities.
#' @param metric `"euclidean"` or `"cosine"`.
#' @param n.bins Points of the Betti curves.
#' @param seed.use,threads As in [RunConcord()].
#' @return A list of class `tutti_topology`: `diagram` (data frame: dimension, birth, death), `curves` (dimension, length, betti), `summary` (per dimension the
#'   most frequent Betti number, stability and entropy of the curve) and `score` (NULL without `betti`).
#' @examples
#' turn <- seq(0, 2 * pi, length.out = 60)
#' EmbeddingTopology(cbind(cos(turn), sin(turn))[-60, ], betti = c(0, 1, 0))$summary
#' @family evaluation
#' @export
EmbeddingTopology <- function(object, reduction = NULL, max.dim = 2, max.points = 400, threshold = NULL, betti = NULL, metric = "euclidean",
                              n.bins = 100, seed.use = 42, threads = NULL) {
    embedding <- if (methods::is(object, "Seurat")) {
        seurat_reduction(object, check_string(reduction), colnames(object), rlang::current_env())
    } else if (methods::is(object, "SingleCellExperiment")) {
        sce_reduction(object, check_string(reduction))
    } else {
        object
    }
    options <- list(
        metric = check_string(metric), max_dim = check_count(max.dim, least = 0), max_points = check_count(max.points, least = 2),
        threshold = check_number(threshold, null = TRUE), betti = check_betti(betti, max.dim), n_bins = check_count(n.bins, least = 2),
        seed = check_count(seed.use, least = 0), threads = tutti_threads(threads)
    )
    out <- call_rust(rust_topology, number_matrix(embedding), options)
    out[c("diagram", "curves", "summary")] <- lapply(out[c("diagram", "curves", "summary")], as.data.frame)
    structure(out, class = "tutti_topology")
}

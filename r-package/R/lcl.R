#' Bring cells of one lineage together by LCL
#'
#' Trains LCL (lineage-aware contrastive learning) on cells with lineage barcodes and adds its embedding to the object. Cells that descend from one ancestor are
#' each other's augmentation: pairs of one lineage are brought together, cells of other lineages apart.
#'
#' Counts are scaled to 10,000 per cell and log-transformed, other values are taken as they are. Embeddings have length 1. Cells without a barcode are
#' embedded too, and train the entropy penalty; `unlabelled` gives it more of them.
#'
#' @section How far to trust it:
#' Cells that were trained on lie near their lineage whatever their expression says. To know what the embedding is worth, hold out cells: `hold.out` does, and asks
#' the five nearest of the other cells for the lineage of each (of whole lineages that were held out, every second cell names the others), beside principal
#' components of the same cells. By default (`mode = "inductive"`) the expression of test cells is not seen; with `mode = "transductive"`, as in the published
#' runs, it serves the entropy penalty, and the errors are not those of cells to come. Large lineages that differ by many small changes gain most; in
#' lineages of a few cells a regression did better where it was measured. For these, and for lineages that were never seen, `preset = "shallow"` did better
#' than the default.
#'
#' @section Memory:
#' As [RunConcord()]. Pairs are drawn while training: memory does not grow with their number.
#'
#' @inheritParams RunConcord
#' @param lineage.by Column of the cells' table with the barcode of each cell, `NA` or `""` where none was read; or a matrix of cells x clones (dense or
#'   sparse, cells joined by name) in which values above 0 say that a barcode was read, for cells with several. For a matrix `object` also one value per
#'   cell, joined by name where it has names.
#' @param ... Settings of LCL by name, see [LCLSettings()], e.g. `latent_dim = 16`, `n_epochs = 30`.
#' @param preset `"default"` are the values of the published command line. `"paper"` and `"reference-code"` differ as paper and code do; `"cell-tag"`,
#'   `"larry"`, `"larry-top200"`, `"cell-tag-multi"` and `"transfer"` are the published runs.
#'   `"shallow"`, one wide layer and a linear head, is better for lineages that were never seen and for lineages of few cells.
#' @param unlabelled More cells without a barcode, a matrix of features x cells of the same kind of values: seen by the entropy penalty, not embedded.
#' @param hold.out Holds out test cells, whose barcodes are not used: `"within"`, of each lineage of ten cells or more, or `"whole"`, lineages with all their cells.
#' @param test.share Share that is held out: of the cells of each of these lineages, or of the lineages.
#' @return The object with a reduction `reduction.name` (SingleCellExperiment: a reduced dimension, in capitals), n_cells x latent_dim, and the model
#'   within, see [GetModel()]. A matrix gives an object of class `tutti_embedding` with `embedding`, `model` and `history`. With `hold.out` also the column
#'   `lcl_split` (`test`, `train` or `without barcode`; for a matrix `split`) and a data frame `lineage.error`, a row for LCL and one for principal components:
#'   `error`, `standard.error`, `n.test`, `largest` (the error of naming all cells after the largest lineage) and `mode`. It is in
#'   `Misc(object[["lcl"]], "lineage.error")`, in `metadata(object)$tutti$LCL$lineage.error`, or an element `lineage.error`.
#' @examples
#' pbmc <- SeuratObject::pbmc_small
#' pbmc$barcode <- rep(letters[1:8], 10)
#' pbmc <- RunLCL(
#'     pbmc, lineage.by = "barcode", n_epochs = 2, latent_dim = 8, hold.out = "within", verbose = FALSE
#' )
#' SeuratObject::Misc(pbmc[["lcl"]], "lineage.error")
#' @family lineages
#' @export
RunLCL <- function(object, ...) {
    UseMethod("RunLCL")
}

#' @rdname RunLCL
#' @export
RunLCL.default <- function(object, lineage.by, ..., features = NULL, n.features = NULL, normalize = "auto", preset = "default",
                           unlabelled = NULL, hold.out = NULL, test.share = 0.1, seed.use = 42, threads = NULL, verbose = TRUE) {
    input <- cells_input(list(object))
    lineage <- given_lineages(lineage.by, input$cells, rlang::current_env())
    run_lcl(input, lineage, unlabelled, hold.out, test.share, list(...), features, n.features, normalize, preset, seed.use, threads, verbose)
}

#' @rdname RunLCL
#' @export
RunLCL.Seurat <- function(object, lineage.by, ..., assay = NULL, layer = NULL, features = NULL, n.features = NULL, normalize = "auto",
                          preset = "default", unlabelled = NULL, hold.out = NULL, test.share = 0.1, reduction.name = "lcl", reduction.key = "LCL_", seed.use = 42, threads = NULL,
                          verbose = TRUE) {
    if (missing(lineage.by)) {
        abort_no_lineage(object[[]], "meta.data")
    }
    input <- seurat_input(object, assay, layer, list())
    lineage <- lineages_of(object, lineage.by, input$cells, rlang::current_env())
    if (is.null(features) && is.null(n.features)) {
        variable <- intersect(SeuratObject::VariableFeatures(object, assay = input$assay), input$genes)
        features <- if (length(variable) > 0) variable
    }
    out <- run_lcl(input, lineage, unlabelled, hold.out, test.share, list(...), features, n.features, normalize, preset, seed.use, threads, verbose)
    out$assay <- assay <- input$assay
    # Matrices are not kept in the log.
    brief <- function(x) if (is.null(dim(x))) x else sprintf("a matrix of %d x %d", nrow(x), ncol(x))
    arguments <- setdiff(names(formals()), c("object", "..."))
    params <- lapply(c(mget(arguments), list(...)), brief)
    object <- add_to_seurat(object, out, reduction.name, reduction.key)
    if (!is.null(out$split)) {
        object[["lcl_split"]] <- stats::setNames(out$split, rownames(out$embedding))
        # `Misc<-` would make a list of the data frame.
        reduction <- object[[reduction.name]]
        reduction@misc$lineage.error <- out$lineage.error
        object[[reduction.name]] <- reduction
    }
    log_command(object, "RunLCL", params, sys.call())
}

#' @rdname RunLCL
#' @export
RunLCL.SingleCellExperiment <- function(object, lineage.by, ..., assay = NULL, features = NULL, n.features = NULL, normalize = "auto",
                                        preset = "default", unlabelled = NULL, hold.out = NULL, test.share = 0.1, reduction.name = "LCL", seed.use = 42, threads = NULL,
                                        verbose = TRUE) {
    if (missing(lineage.by)) {
        abort_no_lineage(as.data.frame(SummarizedExperiment::colData(object)), "colData")
    }
    input <- sce_input(object, assay, list())
    lineage <- lineages_of(object, lineage.by, input$cells, rlang::current_env())
    out <- run_lcl(input, lineage, unlabelled, hold.out, test.share, list(...), features, n.features, normalize, preset, seed.use, threads, verbose)
    object <- add_to_sce(object, out, reduction.name)
    if (!is.null(out$split)) {
        SummarizedExperiment::colData(object)[["lcl_split"]] <- stats::setNames(out$split, rownames(out$embedding))[colnames(object)]
        S4Vectors::metadata(object)$tutti[[reduction.name]]$lineage.error <- out$lineage.error
    }
    object
}

run_lcl <- function(input, lineage, unlabelled, hold.out, test.share, settings, features, n.features, normalize, preset, seed.use, threads, verbose,
                    call = rlang::caller_env()) {
    held <- split_lineages(lineage, hold.out, test.share, seed.use, call)
    more <- list(lineage = lineage)
    more["test"] <- list(held$test)
    if (!is.null(unlabelled)) {
        more$unlabelled <- cells_input(list(unlabelled), origin = "`unlabelled`", call = call)
    } else {
        more["unlabelled"] <- list(NULL)
    }
    out <- run_system("lcl", input, settings, features, n.features, preset, NULL, seed.use, threads, verbose, call, more, normalize)
    if (!is.null(held)) {
        out$split <- factor(held$split, levels = c("test", "train", "without barcode"))
        asked <- list(
            lineage = lineage, test = held$test, hold_out = hold.out, preset = preset, settings = settings, features = out$features, n_features = NULL,
            normalize = normalize, threads = tutti_threads(threads, call)
        )
        out$lineage.error <- lineage_error(out$embedding, input, asked, verbose, call)
    }
    out
}

# Cells that are held out, as Rust numbers them, and what each cell is.
split_lineages <- function(lineage, hold.out, test.share, seed.use, call) {
    if (is.null(hold.out)) {
        return(NULL)
    }
    if (!check_string(hold.out, "hold.out", call = call) %in% c("within", "whole")) {
        abort_tutti("argument", sprintf("`hold.out` is \"%s\"; give \"within\" or \"whole\".", hold.out), call)
    }
    seed <- if (is.null(seed.use)) 0 else check_count(seed.use, "seed.use", least = 0, call = call)
    call_rust(rust_lineage_split, lineage, list(hold_out = hold.out, test_share = check_share(test.share, "test.share", call = call), seed = seed), .call = call)
}

lineage_error <- function(embedding, input, options, verbose, call) {
    found <- call_rust(rust_lineage_error, embedding, input, options, .call = call)
    errors <- data.frame(found[c("error", "standard.error", "n.test", "largest")], mode = found$mode, row.names = c("lcl", "pca"))
    if (verbose) {
        message <- "lineage error %.3f on %g test cells, %s; %.3f by principal components, %.3f by the largest lineage"
        first <- errors["lcl", ]
        inform(sprintf(message, first$error, first$n.test, first$mode, errors["pca", "error"], first$largest), class = "tutti_message")
    }
    errors
}

# ---- Lineages --------------------------------------------------------------------------------------------------------------------------

# As Rust takes them: a factor, or list(matrix, names) with a dgCMatrix of clones x cells.
given_lineages <- function(lineage, cells, call) {
    if (!is_table(lineage)) {
        return(cell_vector(lineage, cells, "lineage.by", call))
    }
    if (is.null(rownames(lineage)) && nrow(lineage) != length(cells)) {
        abort_tutti("data", sprintf("`lineage.by` has %d rows for %d cells; give a matrix of cells x clones.", nrow(lineage), length(cells)), call)
    }
    lineage <- rows_by_name(lineage, cells, "lineage.by", call)
    names <- if (is.null(colnames(lineage))) paste("clone", seq_len(ncol(lineage))) else colnames(lineage)
    list(matrix = as_dgcmatrix(Matrix::t(lineage), "`lineage.by`", call), names = names)
}

is_table <- function(x) is.matrix(x) || methods::is(x, "Matrix")

# Of an object: a column by its name, or a matrix.
lineages_of <- function(object, lineage, cells, call) {
    if (is_table(lineage)) {
        return(given_lineages(lineage, cells, call))
    }
    object_column(object, check_string(lineage, "lineage.by", call = call), cells, call)
}

object_column <- function(object, name, cells, call) {
    if (methods::is(object, "Seurat")) {
        return(table_column(object[[]], name, cells, "meta.data", call))
    }
    table_column(as.data.frame(SummarizedExperiment::colData(object), optional = TRUE), name, cells, "colData", call)
}

abort_no_lineage <- function(table, where, call = rlang::caller_env()) {
    abort_tutti("argument", sprintf("`lineage.by` is missing: which column of %s has the barcodes? %s; or give a matrix of cells x clones.", where, candidates(table)), call)
}

#' Settings of LCL
#'
#' @param preset As in [RunLCL()].
#' @param ... Settings to change.
#' @return A named list of all settings with their values. Wrong names and ranges are errors.
#' @examples
#' str(LCLSettings(latent_dim = 16)[c("latent_dim", "temperature", "n_epochs")])
#' @family lineages
#' @export
LCLSettings <- function(preset = "default", ...) {
    call_rust(rust_lcl_settings, check_string(preset), check_settings(list(...)))
}

#' What becomes of the lineages of early cells
#'
#' Fits a decoder of fates (one linear layer and a softmax, by the Kullback-Leibler divergence) to early cells whose lineages have final cells, tests it on
#' lineages that it was not fitted to, and tells the fates of all cells.
#'
#' The fates are the types of final cells: an early cell's target is their shares among the final cells of its lineage. The test says whether the embedding tells fates
#' at all: compare its divergence with that of the mean. Where the embedding is LCL's, the network has seen the barcodes of the lineages that
#' are held out here; train it on other lineages for a test of both.
#'
#' @param object A Seurat object or SingleCellExperiment with an embedding; or an embedding, one row per cell, or what [RunLCL()] returned for a matrix.
#' @param lineage.by As in [RunLCL()].
#' @param time.by Column with the time of each cell (for an embedding: one value per cell, joined by name where it has names). Numbers are in their order,
#'   texts as well (`day2` before `day10`), a factor in the order of its levels.
#' @param fate.by Column with the type of each cell.
#' @param reduction Reduction to read. Default: the last one trained.
#' @param early Times of early cells. Default: the first.
#' @param final Time of final cells. Default: the last.
#' @param min.final Final cells that a lineage must have.
#' @param test.share Share of the lineages to test on.
#' @param seed.use,threads,verbose As in [RunLCL()].
#' @param ... Not used.
#' @return The object with a column `fate_<type>` for each fate, the share of the cell's descendants that are expected to be of it. For an embedding a list:
#'   `shares` (n_cells x n_fates), `held.out` (a data frame of `n_cells`, `kl`, `right`, and `kl_of_mean`, `right_of_mean` by the mean of the other lineages;
#'   `NULL` for a single lineage), `n.early` and `n.lineages`. An object keeps the same without `shares` as `Misc(object, "fate")` (SingleCellExperiment:
#'   `metadata(object)$fate`).
#' @examples
#' set.seed(1)
#' lineage <- rep(paste0("clone", 1:10), each = 20)
#' time <- rep(c(2, 6), 100)
#' fate <- ifelse(time == 2, "stem", ifelse(lineage %in% paste0("clone", 1:5), "A", "B"))
#' z <- cbind(ifelse(lineage %in% paste0("clone", 1:5), -1, 1), rnorm(200))
#' PredictFate(z, lineage, time, fate, verbose = FALSE)$held.out
#' @family lineages
#' @export
PredictFate <- function(object, lineage.by, time.by, fate.by, ...) {
    UseMethod("PredictFate")
}

#' @rdname PredictFate
#' @export
PredictFate.default <- function(object, lineage.by, time.by, fate.by, early = NULL, final = NULL, min.final = 5, test.share = 0.2, seed.use = 42,
                                threads = NULL, verbose = TRUE, ...) {
    call <- rlang::current_env()
    embedding <- number_matrix(if (inherits(object, "tutti_embedding")) object$embedding else object, "object", call)
    cells <- if (is.null(rownames(embedding))) as.character(seq_len(nrow(embedding))) else rownames(embedding)
    columns <- list(lineage = given_lineages(lineage.by, cells, call), time = cell_vector(time.by, cells, "time.by", call), fate = cell_vector(fate.by, cells, "fate.by", call))
    predict_fate(embedding, columns, early, final, min.final, test.share, seed.use, threads, verbose, call)
}

#' @rdname PredictFate
#' @export
PredictFate.Seurat <- function(object, lineage.by, time.by, fate.by, reduction = NULL, early = NULL, final = NULL, min.final = 5, test.share = 0.2,
                               seed.use = 42, threads = NULL, verbose = TRUE, ...) {
    call <- rlang::current_env()
    out <- fates_of_object(object, lineage.by, time.by, fate.by, reduction, early, final, min.final, test.share, seed.use, threads, verbose, call)
    for (fate in colnames(out$shares)) {
        object[[paste0("fate_", fate)]] <- out$shares[, fate]
    }
    suppressWarnings(SeuratObject::Misc(object, "fate") <- out[setdiff(names(out), "shares")])
    object
}

#' @rdname PredictFate
#' @export
PredictFate.SingleCellExperiment <- function(object, lineage.by, time.by, fate.by, reduction = NULL, early = NULL, final = NULL, min.final = 5,
                                             test.share = 0.2, seed.use = 42, threads = NULL, verbose = TRUE, ...) {
    call <- rlang::current_env()
    out <- fates_of_object(object, lineage.by, time.by, fate.by, reduction, early, final, min.final, test.share, seed.use, threads, verbose, call)
    for (fate in colnames(out$shares)) {
        SummarizedExperiment::colData(object)[[paste0("fate_", fate)]] <- out$shares[, fate]
    }
    all <- S4Vectors::metadata(object)
    all$fate <- out[setdiff(names(out), "shares")]
    S4Vectors::metadata(object) <- all
    object
}

# Of the reduction, or of the last one trained.
embedding_of_object <- function(object, reduction, call) {
    if (is.null(reduction)) {
        stored(object, NULL, "model", call)
    }
    number_matrix(reference_cells(object, reduction, NULL, NULL, call)$embedding, "reduction", call)
}

fates_of_object <- function(object, lineage.by, time.by, fate.by, reduction, early, final, min.final, test.share, seed.use, threads, verbose, call) {
    embedding <- embedding_of_object(object, reduction, call)
    cells <- colnames(object)
    column <- function(name, argument) object_column(object, check_string(name, argument, call = call), cells, call)
    columns <- list(lineage = lineages_of(object, lineage.by, cells, call), time = column(time.by, "time.by"), fate = column(fate.by, "fate.by"))
    predict_fate(embedding, columns, early, final, min.final, test.share, seed.use, threads, verbose, call)
}

predict_fate <- function(embedding, columns, early, final, min.final, test.share, seed.use, threads, verbose, call) {
    options <- list(
        early = if (!is.null(early)) as.character(early),
        last = if (!is.null(final)) check_string(as.character(final), "final", call = call),
        min_final = check_count(min.final, "min.final", call = call),
        test_share = check_share(test.share, "test.share", call = call),
        seed = check_count(seed.use, "seed.use", least = 0, call = call),
        threads = tutti_threads(threads, call)
    )
    out <- call_rust(rust_predict_fates, embedding, columns, options, .call = call)
    shares <- out$shares
    dimnames(shares) <- list(rownames(embedding), out$fates)
    held_out <- if (!is.null(out$held_out)) as.data.frame(out$held_out)
    if (check_flag(verbose, "verbose", call)) {
        inform(sprintf("fates from %g early cells of %g lineages", out$n_early, out$n_lineages), class = "tutti_message")
        if (!is.null(held_out)) {
            message <- "on %g cells of lineages held out: divergence %.3f (%.3f by the mean), largest fate right for %.0f %% (%.0f %%)"
            values <- c(list(message), held_out[c("n_cells", "kl", "kl_of_mean")], 100 * held_out[c("right", "right_of_mean")])
            inform(do.call(sprintf, unname(values)), class = "tutti_message")
        }
    }
    list(shares = shares, held.out = held_out, n.early = out$n_early, n.lineages = out$n_lineages)
}

#' Genes that lineages rest on
#'
#' By which genes cells lie near the others of their lineage: integrated gradients of the cosine with the centroid of the lineage, their absolute values averaged over the lineage's cells.
#'
#' @param object An object that [RunLCL()] returned. For a matrix, give the model as `model`.
#' @param lineage.by As in [RunLCL()].
#' @param reduction As in [GetModel()].
#' @param min.cells Fewest cells of a lineage.
#' @param max.lineages Lineages at most, the largest first.
#' @param max.cells Cells of a lineage at most, at random.
#' @param n.steps Points of the integration.
#' @param gene.baseline Expression from which gradients are integrated: `"zero"`, no feature at all, or the `"mean"` of the cells, by which features that a cell
#'   lacks count too.
#' @param assay,layer Assay and layer to read.
#' @param model A model, or an object with one, instead of the object's own.
#' @param threads As in [RunLCL()].
#' @return Matrix of features x lineages, the largest lineage first, with the mean over lineages as the first column, `all`. The attribute
#'   `completeness.error` has the error of the integration for each lineage, in units of the cosine.
#' @examples
#' pbmc <- SeuratObject::pbmc_small
#' pbmc$barcode <- rep(letters[1:8], 10)
#' pbmc <- RunLCL(pbmc, lineage.by = "barcode", n_epochs = 2, latent_dim = 8, verbose = FALSE)
#' genes <- LineageGenes(pbmc, lineage.by = "barcode")
#' head(sort(genes[, "all"], decreasing = TRUE))
#' @family lineages
#' @export
LineageGenes <- function(object, lineage.by, reduction = NULL, min.cells = 10, max.lineages = 50, max.cells = 200, n.steps = 100, gene.baseline = "zero",
                         assay = NULL, layer = NULL, model = NULL, threads = NULL) {
    call <- rlang::current_env()
    model <- stored(if (is.null(model)) object else model, reduction, "model", call)
    of_object <- methods::is(object, "Seurat") || methods::is(object, "SingleCellExperiment")
    input <- if (methods::is(object, "Seurat")) {
        seurat_input(object, assay, layer, list())
    } else if (of_object) {
        sce_input(object, assay, list())
    } else {
        cells_input(list(object))
    }
    options <- list(
        lineage = if (of_object) lineages_of(object, lineage.by, input$cells, call) else given_lineages(lineage.by, input$cells, call),
        min_cells = check_count(min.cells),
        max_lineages = check_count(max.lineages),
        max_cells = check_count(max.cells),
        n_steps = check_count(n.steps),
        gene_baseline = check_string(gene.baseline),
        threads = tutti_threads(threads)
    )
    out <- call_rust(rust_lcl_genes, model_raw(model), input, options)
    for (note in out$notes) {
        warn_tutti(note)
    }
    values <- cbind(out$global, out$importance)
    dimnames(values) <- list(out$features, c("all", out$lineages))
    structure(values, completeness.error = stats::setNames(out$completeness_error, out$lineages))
}

#' Whether an embedding tells which pairs of cells are of one lineage
#'
#' Votes for pairs of cells as GEMLI counts them (Eisele et al. 2024): a hundred times, by two thirds of the dimensions, cells are divided in two again and again by
#' Ward's method on their correlations, and each pair in a cluster of the right size gets a vote. The scores compare the votes with the lineages: a
#' good embedding ranks pairs of one lineage first.
#'
#' An embedding that was trained on these cells' lineages knows them: look at cells that were held out (`cells`), and beside it at the same of another embedding,
#' such as principal components.
#'
#' @param object A Seurat object or SingleCellExperiment with an embedding; or an embedding, one row per cell, or what [RunLCL()] returned for a matrix.
#' @param lineage.by As in [RunLCL()].
#' @param reduction Reduction to read. Default: the last one trained.
#' @param cells Names of the cells to look at, e.g. those that were held out. Default: all.
#' @param sizes Fewest and most cells of a cluster whose pairs count: about the sizes of lineages.
#' @param n.lineages Lineages whose pairs are told, the largest first; they may have 5,000 cells together.
#' @param threads As in [RunLCL()].
#' @return A list. `scores`, a data frame of one row: `auprc` and `auroc` over all pairs, `chance` (the share of pairs that are of one lineage, which is the `auprc` of
#'   guessing), `n.cells` and `n.pairs`. `pairs`, a data frame of the pairs that have votes, most first: `cell.a`, `cell.b`, `votes` (up to 100) and
#'   `same.lineage`.
#' @examples
#' set.seed(1)
#' lineage <- rep(paste0("clone", 1:8), each = 12)
#' centre <- matrix(rnorm(8 * 6), 8)[rep(1:8, each = 12), ]
#' LineagePairs(centre + rnorm(96 * 6, sd = 0.3), lineage, sizes = c(4, 12))$scores
#' @family lineages
#' @export
LineagePairs <- function(object, lineage.by, reduction = NULL, cells = NULL, sizes = c(50, 200), n.lineages = 50, threads = NULL) {
    call <- rlang::current_env()
    of_object <- methods::is(object, "Seurat") || methods::is(object, "SingleCellExperiment")
    if (of_object) {
        embedding <- embedding_of_object(object, reduction, call)
        names <- colnames(object)
        lineage <- lineages_of(object, lineage.by, names, call)
    } else {
        embedding <- number_matrix(if (inherits(object, "tutti_embedding")) object$embedding else object, "object", call)
        names <- if (is.null(rownames(embedding))) as.character(seq_len(nrow(embedding))) else rownames(embedding)
        lineage <- given_lineages(lineage.by, names, call)
    }
    if (!is.numeric(sizes) || length(sizes) != 2 || anyNA(sizes)) {
        abort_tutti("argument", "`sizes` must be two numbers, the fewest and the most cells of a cluster.", call)
    }
    options <- list(
        sizes = vapply(sizes, check_count, 0, name = "sizes", least = 2, call = call),
        n_lineages = check_count(n.lineages),
        threads = tutti_threads(threads)
    )
    options["cells"] <- list(named_cells(cells, names, call))
    out <- call_rust(rust_lineage_pairs, embedding, lineage, options)
    pairs <- data.frame(
        cell.a = names[out$first], cell.b = names[out$second], votes = out$votes, same.lineage = out$related
    )
    list(scores = as.data.frame(out[c("auprc", "auroc", "chance", "n.cells", "n.pairs")]), pairs = pairs)
}

# Places of cells, by their names; NULL are all.
named_cells <- function(cells, there, call) {
    if (is.null(cells)) {
        return(NULL)
    }
    at <- match(as.character(cells), there)
    if (anyNA(at)) {
        missing <- as.character(cells)[is.na(at)]
        abort_tutti("argument", sprintf("`cells` has %d names that the object lacks (first: %s).", length(missing), missing[[1]]), call)
    }
    sort(unique(at))
}

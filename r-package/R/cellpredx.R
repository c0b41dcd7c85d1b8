#' Name cells after a labelled reference by CellPredX
#'
#' Trains CellPredX (Liu et al. 2025, <doi:10.1371/journal.pcbi.1013824>) on a labelled reference and a query together and names the cells of the query:
#' across technologies, donors, species (with `orthologues`), or from RNA to the gene activity of ATAC. Cells that are unlike the reference are
#' called unknown.
#'
#' Both are read over their common features. Counts are scaled to 10,000 per cell and log-transformed, other values are taken as they are. A share of each
#' class of the reference is held out: on these cells the probabilities are calibrated (one temperature), and limits of the probability and of the novelty
#' chosen so that a share `false.rejection.rate` of cells of known types is called unknown. Both hold as far as the query is like the reference: look at the
#' coverage. Where types are of unequal spread, one limit refuses cells of the wide ones and keeps strange cells that are called by a narrow one:
#' `limits = "by-class"` chooses limits for each class, on the held-out cells that are called by it. A class with too few of them, 39 for the default rate, keeps the
#' limits of all together, and is named in a warning.
#'
#' Novelty, smoothing and finer labels compare cells by Euclidean distance, and so should what you do with the reduction. After a start at random (the setting
#' `start`, as the presets `"paper"` and `"reference-code"` have it) they compare by cosine: `RunUMAP(..., metric = "cosine")`.
#'
#' @inheritSection RunConcord Interrupting
#' @section Reproducibility:
#' The same data, settings and `seed.use` give the same labels, to the bit, for any number of threads, and the same as the command line
#' `tutti annotate --system cellpredx`.
#'
#' @param query Cells to name: a Seurat object, a SingleCellExperiment or a matrix of features x cells.
#' @param reference Cells with labels, of the same class as the query.
#' @param label.by Column of the reference with the labels; `NA` are cells without one. For a matrix: one value per reference cell.
#' @param ... Settings of CellPredX by name, see [CellPredXSettings()], e.g. `n_steps = 500`.
#' @param batch.by Column of batches inside of reference or query, where one has it. For matrices: not used.
#' @param scenario Kind of data, for the weights of the losses: `"matched-rna-to-atac"`, `"unmatched-rna-to-atac"`, `"rna-to-rna"`, `"atac-to-atac"`, or `"auto"`,
#'   which looks at the data and says what it takes them for.
#' @param preset Weights of the losses: `"default"`, those that the `"paper"` writes, or those of the `"reference-code"`.
#' @param held.out Share of each class of the reference that is held out to calibrate and to choose limits on, above 0.
#' @param false.rejection.rate Share of cells of known types that may be called unknown.
#' @param min.probability,max.novelty Limits, instead of those that are chosen.
#' @param reject `FALSE` calls no cell unknown.
#' @param limits Whether the limits that are chosen are `"overall"` ones or one of each class, `"by-class"`.
#' @param finer.by Column of the reference with finer labels (for matrices: one value per reference cell): each query cell gets one by vote among the reference
#'   cells of the type that it is called, and it never contradicts the type.
#' @param orthologues Where the species differ: a data frame with a gene of each in its first two columns, in either order. Genes with several partners are left
#'   out. Features then have the names of the reference.
#' @param smooth Gives each query cell the label that most of so many nearest query cells have, itself among them, as the published code offers with 10: small
#'   types within large ones are smoothed away. Unknown cells neither vote nor change; limits are those of before. Default: no smoothing.
#' @param assay,layer What to read of both, as in [RunConcord()].
#' @param n.features Highly variable features to train on; 0 takes all. Default 2000 where there are more.
#' @param normalize What is done to the values of both, as in [RunConcord()].
#' @param min.overlap Smallest share of the smaller set of features that the other must have.
#' @param reduction.name,reduction.key Name and key of the reduction.
#' @param seed.use,threads,verbose As in [RunConcord()].
#' @return The query with a reduction `cellpredx` and the columns `predicted.<label>`, `predicted.<label>.score` (the probability), `predicted.<label>.runner.up`,
#'   `predicted.<label>.novelty`, `predicted.<label>.unknown` and `predicted.<label>.reason`; with `finer.by` also `predicted.<finer.by>`, its `.score` (the share
#'   of the votes) and `.novelty`. Matrices give an object of class `tutti_embedding`, with these as the data frame `annotation` and the limits as `limits`, a
#'   list of `min_probability`, `max_novelty`, `temperature`, `coverage`, with `smooth` also `n_smoothed` (cells that got another label), and, of each class, `by_class`. A Seurat object keeps `limits` as
#'   `Misc(object[["cellpredx"]], "limits")`, a SingleCellExperiment in `metadata(object)$tutti`.
#' @examples
#' pbmc <- SeuratObject::pbmc_small
#' pbmc$type <- pbmc$letter.idents
#' query <- RunCellPredX(
#'     pbmc[, 61:80], pbmc[, 1:60], label.by = "type", n_steps = 20, verbose = FALSE
#' )
#' table(query$predicted.type, query$predicted.type.unknown)
#' @family transfer
#' @export
RunCellPredX <- function(query, reference, label.by, ...) {
    UseMethod("RunCellPredX")
}

#' @rdname RunCellPredX
#' @export
RunCellPredX.default <- function(query, reference, label.by, ..., scenario = "auto", preset = "default", held.out = 0.2, false.rejection.rate = 0.05,
                                 min.probability = NULL, max.novelty = NULL, reject = TRUE, limits = "overall", finer.by = NULL, orthologues = NULL,
                                 smooth = NULL, n.features = NULL, normalize = "auto", min.overlap = 0.3, seed.use = 42, threads = NULL,
                                 verbose = TRUE) {
    call <- rlang::current_env()
    inputs <- list(query = cells_input(list(query), origin = "`query`"), reference = cells_input(list(reference), origin = "`reference`"))
    labels <- cell_vector(label.by, inputs$reference$cells, "label.by", call)
    finer <- if (!is.null(finer.by)) list(name = "finer", labels = cell_vector(finer.by, inputs$reference$cells, "finer.by", call))
    limits <- check_limits(held.out, false.rejection.rate, min.probability, max.novelty, reject, limits, call)
    run_cellpredx(inputs, labels, "label", finer, limits, orthologues, smooth, scenario, preset, list(...), n.features, normalize, min.overlap, seed.use, threads, verbose)
}

#' @rdname RunCellPredX
#' @export
RunCellPredX.Seurat <- function(query, reference, label.by, ..., batch.by = NULL, scenario = "auto", preset = "default", held.out = 0.2,
                                false.rejection.rate = 0.05, min.probability = NULL, max.novelty = NULL, reject = TRUE, limits = "overall",
                                finer.by = NULL, orthologues = NULL, smooth = NULL, assay = NULL, layer = NULL, n.features = NULL, normalize = "auto",
                                min.overlap = 0.3, reduction.name = "cellpredx", reduction.key = "CELLPREDX_", seed.use = 42, threads = NULL, verbose = TRUE) {
    call <- rlang::current_env()
    if (!methods::is(reference, "Seurat")) {
        abort_tutti("argument", sprintf("`reference` is of class %s; give a Seurat object, as the query is.", class(reference)[[1]]), call)
    }
    columns <- function(object) if (!is.null(batch.by) && batch.by %in% colnames(object[[]])) list(group.by = batch.by) else list()
    check_batch_by(batch.by, c(colnames(query[[]]), colnames(reference[[]])), call)
    inputs <- list(
        query = named_input(seurat_input(query, assay, layer, columns(query), call), "query"),
        reference = named_input(seurat_input(reference, assay, layer, columns(reference), call), "reference")
    )
    labels <- object_column(reference, check_string(label.by, "label.by", call = call), inputs$reference$cells, call)
    finer <- if (!is.null(finer.by)) {
        list(name = finer.by, labels = object_column(reference, check_string(finer.by, "finer.by", call = call), inputs$reference$cells, call))
    }
    limits <- check_limits(held.out, false.rejection.rate, min.probability, max.novelty, reject, limits, call)
    out <- run_cellpredx(
        inputs, labels, label.by, finer, limits, orthologues, smooth, scenario, preset, list(...), n.features, normalize, min.overlap, seed.use, threads, verbose
    )
    out$assay <- inputs$query$assay
    query <- add_to_seurat(query, out, reduction.name, reduction.key)
    suppressWarnings(SeuratObject::Misc(query[[reduction.name]], "limits") <- out$limits)
    for (name in names(out$annotation)) {
        query[[name]] <- stats::setNames(out$annotation[[name]], rownames(out$annotation))
    }
    query
}

#' @rdname RunCellPredX
#' @export
RunCellPredX.SingleCellExperiment <- function(query, reference, label.by, ..., batch.by = NULL, scenario = "auto", preset = "default", held.out = 0.2,
                                              false.rejection.rate = 0.05, min.probability = NULL, max.novelty = NULL, reject = TRUE,
                                              limits = "overall", finer.by = NULL, orthologues = NULL, smooth = NULL, assay = NULL,
                                              n.features = NULL, normalize = "auto", min.overlap = 0.3, reduction.name = "CELLPREDX", seed.use = 42, threads = NULL,
                                              verbose = TRUE) {
    call <- rlang::current_env()
    if (!methods::is(reference, "SingleCellExperiment")) {
        abort_tutti("argument", sprintf("`reference` is of class %s; give a SingleCellExperiment, as the query is.", class(reference)[[1]]), call)
    }
    there <- function(object) colnames(SummarizedExperiment::colData(object))
    columns <- function(object) if (!is.null(batch.by) && batch.by %in% there(object)) list(group.by = batch.by) else list()
    check_batch_by(batch.by, c(there(query), there(reference)), call)
    inputs <- list(
        query = named_input(sce_input(query, assay, columns(query)), "query"),
        reference = named_input(sce_input(reference, assay, columns(reference)), "reference")
    )
    labels <- object_column(reference, check_string(label.by, "label.by", call = call), inputs$reference$cells, call)
    finer <- if (!is.null(finer.by)) {
        list(name = finer.by, labels = object_column(reference, check_string(finer.by, "finer.by", call = call), inputs$reference$cells, call))
    }
    limits <- check_limits(held.out, false.rejection.rate, min.probability, max.novelty, reject, limits, call)
    out <- run_cellpredx(
        inputs, labels, label.by, finer, limits, orthologues, smooth, scenario, preset, list(...), n.features, normalize, min.overlap, seed.use, threads, verbose
    )
    query <- add_to_sce(query, out, reduction.name)
    S4Vectors::metadata(query)$tutti[[reduction.name]]$limits <- out$limits
    for (name in names(out$annotation)) {
        SummarizedExperiment::colData(query)[[name]] <- out$annotation[colnames(query), name]
    }
    query
}

check_batch_by <- function(batch.by, there, call) {
    if (!is.null(batch.by) && !check_string(batch.by, "batch.by", call = call) %in% there) {
        abort_tutti("argument", sprintf("`batch.by`: neither query nor reference has a column `%s`.", batch.by), call)
    }
}

# So that messages tell the two apart.
named_input <- function(input, what) {
    input$origin <- sprintf("%s of the %s", input$origin, what)
    input
}

# As Rust takes them.
check_limits <- function(held.out, rate, min.probability, max.novelty, reject, limits, call) {
    share <- function(x, name) if (!is.null(x)) check_share(x, name, call = call)
    limits <- check_string(limits, "limits", call = call)
    if (!limits %in% c("overall", "by-class")) {
        abort_tutti("argument", sprintf("`limits` is \"%s\"; give \"overall\" or \"by-class\".", limits), call)
    }
    reject <- check_flag(reject, "reject", call)
    if (limits == "by-class" && (!reject || (!is.null(min.probability) && !is.null(max.novelty)))) {
        abort_tutti("argument", "`limits` is \"by-class\", and no limit is chosen; leave it out, or a limit of your own.", call)
    }
    list(
        held_out = check_share(held.out, "held.out", call = call),
        false_rejection_rate = check_share(rate, "false.rejection.rate", call = call),
        reject = reject,
        min_probability = share(min.probability, "min.probability"),
        max_novelty = share(max.novelty, "max.novelty"),
        limits = limits
    )
}

# The first two columns of a table as Rust takes them; `what` they are.
check_pairs <- function(x, name, what, call) {
    if (is.null(x)) {
        return(NULL)
    }
    if (!(is.data.frame(x) || is.matrix(x)) || ncol(x) < 2 || nrow(x) == 0) {
        abort_tutti("argument", sprintf("`%s` must be a data frame with %s in its first two columns.", name, what), call)
    }
    pairs <- list(first = as.character(x[, 1, drop = TRUE]), second = as.character(x[, 2, drop = TRUE]))
    there <- !is.na(pairs$first) & !is.na(pairs$second)
    lapply(pairs, function(column) column[there])
}

run_cellpredx <- function(inputs, labels, label, finer, limits, orthologues, smooth, scenario, preset, settings, n.features, normalize, min.overlap, seed.use,
                          threads, verbose, call = rlang::caller_env()) {
    labels <- named_labels(labels, label)
    smooth <- check_count(smooth, "smooth", least = 3, null = TRUE, call = call)
    if (!is.null(smooth) && smooth > length(inputs$query$cells)) {
        abort_tutti("argument", sprintf("`smooth` is %g and the query has %d cells; use 10, or leave it out.", smooth, length(inputs$query$cells)), call)
    }
    settings <- check_settings(settings, call)
    if ("seed" %in% names(settings)) {
        abort_tutti("argument", "the seed is given by `seed.use`, not by the setting `seed`.", call)
    }
    settings$seed <- check_count(seed.use, "seed.use", least = 0, call = call)
    shared <- list(labels = labels, threads = tutti_threads(threads, call))
    options <- c(shared, limits["held_out"], list(
        query = inputs$query,
        preset = check_string(preset, "preset", call = call),
        scenario = check_string(scenario, "scenario", call = call),
        settings = settings,
        n_features = check_count(n.features, "n.features", least = 0, null = TRUE, call = call),
        normalize = check_string(normalize, "normalize", call = call),
        min_overlap = check_share(min.overlap, "min.overlap", call = call),
        orthologues = check_pairs(orthologues, "orthologues", "a gene of each species", call)
    ))
    trained <- train_system("cellpredx", inputs$reference, options, check_flag(verbose, "verbose", call), call)
    of_model <- trained$probabilities
    asked <- c(shared, limits, of_model[c("classes", "metric")], list(seed = settings$seed, n_neighbors = 15, smooth = smooth, finer = finer$labels))
    named <- call_rust(rust_annotate, trained$embedding, of_model$values, asked, .call = call)
    for (message in named$warnings) {
        warn_tutti(message)
    }
    cells <- inputs$query$cells
    embedding <- trained$embedding[length(labels) + seq_along(cells), , drop = FALSE]
    dimnames(embedding) <- list(cells, paste0("CELLPREDX_", seq_len(ncol(embedding))))
    annotation <- annotation_table(named, label, finer$name, cells)
    if (verbose) {
        message <- "%.1f %% of %d cells keep their label; limits: probability %s, novelty %s"
        limit <- function(x) if (is.null(x)) "none" else sprintf("%.3f", x)
        inform(sprintf(message, 100 * named$coverage, length(cells), limit(named$min_probability), limit(named$max_novelty)), class = "tutti_message")
    }
    out <- list(
        embedding = embedding,
        model = new_model("cellpredx", trained$model),
        history = trained$history,
        features = trained$features,
        annotation = annotation,
        limits = limits_of(named),
        train_seconds = trained$train_seconds,
        cells_per_second = trained$cells_per_second
    )
    structure(out, class = "tutti_embedding", system = "cellpredx")
}

# Labels in which an empty text is no class, as in tables of text.
named_labels <- function(labels, name) {
    labels <- as.factor(labels)
    blank <- !nzchar(trimws(levels(labels)))
    n <- sum(labels %in% levels(labels)[blank])
    if (n > 0) {
        warn_tutti(sprintf("%d reference cells have an empty text as `%s`, which names no class.", n, name))
    }
    levels(labels)[blank] <- NA
    labels
}

# What was chosen, and by class where that was asked for.
limits_of <- function(named) {
    out <- named[c("min_probability", "max_novelty", "temperature", "coverage")]
    out$n_smoothed <- named$n_smoothed
    if (!is.null(named$by_class)) {
        out$by_class <- as.data.frame(named$by_class)
    }
    out
}

annotation_table <- function(named, label, finer, cells) {
    column <- function(codes, levels) factor(levels[codes], levels = levels)
    columns <- list(
        column(named$label, named$levels), named$probability, column(named$runner_up, named$levels), named$novelty, !is.na(named$reason),
        column(named$reason, named$reason_levels)
    )
    names(columns) <- paste0("predicted.", label, c("", ".score", ".runner.up", ".novelty", ".unknown", ".reason"))
    if (!is.null(finer)) {
        found <- list(column(named$finer$label, named$finer$levels), named$finer$confidence, named$finer$novelty)
        columns[paste0("predicted.", finer, c("", ".score", ".novelty"))] <- found
    }
    data.frame(Filter(Negate(is.null), columns), row.names = cells, check.names = FALSE)
}

#' Settings of CellPredX
#'
#' @param preset,scenario As in [RunCellPredX()]; `"auto"` stands for `"rna-to-rna"` here.
#' @param ... Settings to change.
#' @return A named list of all settings with their values. Wrong names and ranges are errors.
#' @examples
#' str(CellPredXSettings(scenario = "unmatched-rna-to-atac")[c("alignment_weight", "n_steps")])
#' @family transfer
#' @export
CellPredXSettings <- function(preset = "default", scenario = "auto", ...) {
    call_rust(rust_cellpredx_settings, check_string(preset), check_string(scenario), check_settings(list(...)))
}

#' Genes that determine labels
#'
#' By which genes CellPredX names cells: integrated gradients of the probability of the class. Of each cell the `n.top` genes
#' of the largest absolute attribution count, of each class the `n.genes` that do so most often; or, with `by.cell`, those of each cell by itself.
#'
#' @param object An object that [RunCellPredX()] returned; or a matrix of features x cells, with `model`.
#' @param label.by Column with the class of each cell (for a matrix: one value per cell). Default for an object: what [RunCellPredX()] called them, without
#'   unknown cells.
#' @param n.genes Genes of each class.
#' @param n.top Genes of each cell.
#' @param max.cells Cells of a class at most, at random.
#' @param markers Known markers: a data frame with a class and a gene in its first two columns.
#' @param by.cell `TRUE` gives the `n.top` genes of each cell (of `max.cells` of a class), not those of the classes; `n.genes` and `markers` are of classes.
#' @param gene.baseline Expression from which gradients are integrated: `"zero"`, no feature at all, or the `"mean"` of the cells, by which features that a cell
#'   lacks count too.
#' @param reduction As in [GetModel()].
#' @param assay,layer Assay and layer to read.
#' @param model A model, or an object with one, instead of the object's own.
#' @param threads As in [RunConcord()].
#' @return A data frame with a row per class and gene, the most frequent first: `class`, `gene`, `frequency` (the share of the cells in which it counts) and
#'   `attribution` (its mean; above 0 where expression speaks for the class). With `markers` also `marker`, whether the gene is a known one of the class, and the
#'   attribute `hit.rate`, a data frame of `class`, `n_markers` (those that the model reads), `n_hits` (of these, how many are among the genes of the class), `rate`
#'   and `chance`, the rate of as many genes at random. With `by.cell` a row per cell and gene: `cell`, `class`, `gene` and `attribution`, the largest absolute one of
#'   a cell first; features that move nothing are left out.
#' @examples
#' pbmc <- SeuratObject::pbmc_small
#' pbmc$type <- pbmc$letter.idents
#' query <- RunCellPredX(
#'     pbmc[, 61:80], pbmc[, 1:60], label.by = "type", n_steps = 20, reject = FALSE,
#'     verbose = FALSE
#' )
#' head(DeterminantGenes(query, n.genes = 5))
#' head(DeterminantGenes(query, n.top = 3, by.cell = TRUE))
#' known <- data.frame(class = c("A", "B"), gene = c("MS4A1", "CD3E"))
#' attr(DeterminantGenes(query, markers = known), "hit.rate")
#' @family transfer
#' @export
DeterminantGenes <- function(object, label.by = NULL, n.genes = 50, n.top = 100, max.cells = 500, markers = NULL, by.cell = FALSE, gene.baseline = "zero",
                             reduction = NULL, assay = NULL, layer = NULL, model = NULL, threads = NULL) {
    call <- rlang::current_env()
    if (check_flag(by.cell) && !is.null(markers)) {
        abort_tutti("argument", "`markers` are of classes, and `by.cell` asks for cells; leave one of them out.", call)
    }
    model <- stored(if (is.null(model)) object else model, reduction, "model", call)
    of_object <- methods::is(object, "Seurat") || methods::is(object, "SingleCellExperiment")
    input <- if (methods::is(object, "Seurat")) {
        seurat_input(object, assay, layer, list(), call)
    } else if (of_object) {
        sce_input(object, assay, list())
    } else {
        cells_input(list(object))
    }
    labels <- if (!of_object) {
        if (is.null(label.by)) {
            abort_tutti("argument", "`label.by` is missing: give the class of each cell.", call)
        }
        cell_vector(label.by, input$cells, "label.by", call)
    } else if (is.null(label.by)) {
        called_labels(object, input$cells, call)
    } else {
        object_column(object, check_string(label.by, "label.by", call = call), input$cells, call)
    }
    markers <- check_pairs(markers, "markers", "a class and a gene", call)
    options <- list(
        n_top = check_count(n.top), n_genes = check_count(n.genes), max_cells = check_count(max.cells), markers = markers,
        gene_baseline = check_string(gene.baseline), by_cell = by.cell, threads = tutti_threads(threads)
    )
    out <- call_rust(rust_cellpredx_genes, model_raw(model), input, labels, options)
    genes <- as.data.frame(out$genes)
    if (by.cell) {
        genes$cell <- input$cells[genes$cell]
        return(genes)
    }
    if (is.null(markers)) {
        return(genes)
    }
    if (length(out$hits$left_out) > 0) {
        warn_tutti(sprintf("markers are left out, as no cell is of their class or the model reads none of them: %s", paste(out$hits$left_out, collapse = ", ")))
    }
    genes$marker <- paste(genes$class, genes$gene, sep = "\t") %in% paste(markers$first, markers$second, sep = "\t")
    structure(genes, hit.rate = as.data.frame(out$hits[c("class", "n_markers", "n_hits", "rate", "chance")]))
}

# What RunCellPredX() called the cells; NA where unknown.
called_labels <- function(object, cells, call) {
    table <- if (methods::is(object, "Seurat")) object[[]] else as.data.frame(SummarizedExperiment::colData(object), optional = TRUE)
    unknown <- grep("^predicted\\..*\\.unknown$", colnames(table), value = TRUE)
    if (length(unknown) == 0) {
        abort_tutti("argument", "the object has no labels of RunCellPredX(); give `label.by`.", call)
    }
    last <- unknown[[length(unknown)]]
    labels <- as.factor(table[cells, sub("\\.unknown$", "", last)])
    labels[as.logical(table[cells, last])] <- NA
    labels
}

# What the five systems share: the same arguments in, the same additions to the object out.

run_seurat <- function(system, object, group.by, label.by, assay, layer, features, n.features, preset, graph.reduction, settings, seed.use,
                       threads, verbose, normalize = "auto", call = rlang::caller_env()) {
    columns <- Filter(Negate(is.null), list(group.by = group.by, label.by = label.by))
    input <- seurat_input(object, assay, layer, columns, call)
    if (is.null(features) && is.null(n.features)) {
        variable <- intersect(SeuratObject::VariableFeatures(object, assay = input$assay), input$genes)
        features <- if (length(variable) > 0) variable
    }
    graph <- if (is.null(graph.reduction)) NULL else seurat_reduction(object, graph.reduction, input$cells, call)
    out <- run_system(system, input, settings, features, n.features, preset, graph, seed.use, threads, verbose, call, normalize = normalize)
    out$assay <- input$assay
    out
}

# Trains and names what comes back. `more`: options that only this system has.
run_system <- function(system, input, settings, features, n.features, preset, graph, seed.use, threads, verbose, call = rlang::caller_env(),
                       more = list(), normalize = "auto") {
    settings <- check_settings(settings, call)
    implied <- list(use_classifier = if (!is.null(input$columns$label.by)) TRUE, sampler_graph = if (!is.null(graph)) "given")
    settings <- utils::modifyList(Filter(Negate(is.null), implied), settings, keep.null = TRUE)
    if (!is.null(seed.use)) {
        if ("seed" %in% names(settings)) {
            abort_tutti("argument", "the seed is given by `seed.use`, not by the setting `seed`.", call)
        }
        settings$seed <- check_count(seed.use, "seed.use", least = 0, call = call)
    }
    if (!is.null(features) && !is.null(n.features)) {
        abort_tutti("argument", "give `features` or `n.features`, not both.", call)
    }
    check_batch(input$columns$group.by, call)
    options <- list(
        preset = check_string(preset, "preset", call = call),
        settings = settings,
        batch = if ("group.by" %in% names(input$columns)) "group.by",
        label = if ("label.by" %in% names(input$columns)) "label.by",
        features = if (!is.null(features)) as.character(features),
        n_features = check_count(n.features, "n.features", least = 0, null = TRUE, call = call),
        normalize = check_string(normalize, "normalize", call = call),
        threads = tutti_threads(threads, call),
        graph = if (!is.null(graph)) rows_by_name(number_matrix(graph, "graph", call), input$cells, "graph", call)
    )
    out <- train_system(system, input, c(options, more), check_flag(verbose, "verbose", call), call)
    rownames(out$embedding) <- input$cells
    colnames(out$embedding) <- paste0(toupper(system), "_", seq_len(ncol(out$embedding)))
    out$model <- new_model(system, out$model)
    out$classes <- class_table(out$probabilities, input$cells)
    if (verbose) {
        inform(sprintf("trained for %.1f s, %.0f cells a second", out$train_seconds, out$cells_per_second), class = "tutti_message")
    }
    parts <- c("embedding", "model", "history", "classes", "features", "train_seconds", "cells_per_second")
    structure(out[parts], class = "tutti_embedding", system = system)
}

# A column of numbers, or of cell names, taken for the batch.
check_batch <- function(batch, call) {
    if (length(batch) > 2 && nlevels(batch) > length(batch) / 2) {
        message <- "`group.by` has %d different values for %d cells; it must be a column of categories, such as the sample."
        abort_tutti("argument", sprintf(message, nlevels(batch), length(batch)), call)
    }
}

# Best class, its probability, and all probabilities of each cell.
class_table <- function(probabilities, cells) {
    if (is.null(probabilities)) {
        return(NULL)
    }
    values <- probabilities$values
    dimnames(values) <- list(cells, probabilities$classes)
    best <- max.col(values, ties.method = "first")
    list(class = factor(probabilities$classes[best], levels = probabilities$classes), probability = values[cbind(seq_along(best), best)], values = values)
}

new_reduction <- function(out, assay, key, cells) {
    embedding <- out$embedding[cells, , drop = FALSE]
    key <- sub("_*$", "_", key)
    colnames(embedding) <- paste0(key, seq_len(ncol(embedding)))
    misc <- list(tutti = list(model = out$model, history = out$history))
    SeuratObject::CreateDimReducObject(embeddings = embedding, assay = assay, key = key, misc = misc)
}

add_to_seurat <- function(object, out, reduction.name, reduction.key) {
    object[[reduction.name]] <- new_reduction(out, out$assay, reduction.key, colnames(object))
    if (!is.null(out$classes)) {
        prefix <- attr(out, "system")
        object[[paste0(prefix, "_class")]] <- stats::setNames(out$classes$class, rownames(out$embedding))
        object[[paste0(prefix, "_class_probability")]] <- stats::setNames(out$classes$probability, rownames(out$embedding))
    }
    object
}

# What `Command(object)` shows, with the settings of `...` too. LogSeuratCommand() of SeuratObject writes the call out as text, and a call made by
# do.call() holds the object itself: the text, kept in the object, is larger than it and grows with every call.
log_command <- function(object, name, params, call) {
    call.string <- paste(deparse(brief_call(name, call), width.cutoff = 500), collapse = " ")
    title <- paste(c(name, params$assay), collapse = ".")
    object[[title]] <- new(
        "SeuratCommand", name = title, time.stamp = Sys.time(), assay.used = params$assay, call.string = call.string, params = params
    )
    object
}

# The call as it was written; of values that stand in it themselves only short ones.
brief_call <- function(name, call) {
    call[[1]] <- as.name(name)
    for (i in seq_along(call)[-1]) {
        # Of `object[, 1]` one part is empty.
        if (!identical(call[[i]], quote(expr = ))) {
            call[[i]] <- brief_argument(call[[i]])
        }
    }
    call
}

brief_argument <- function(x) {
    if (is.call(x)) {
        return(brief_call(if (is.symbol(x[[1]])) x[[1]] else "...", x))
    }
    if (is.symbol(x) || (is.atomic(x) && length(x) <= 10)) x else as.name(class(x)[[1]])
}

# An assay whose key is valid, so that nothing is said about it.
new_assay <- function(values, name, counts = FALSE) {
    assay <- if (counts) SeuratObject::CreateAssayObject(counts = values) else SeuratObject::CreateAssayObject(data = values)
    SeuratObject::Key(assay) <- paste0(tolower(gsub("[^A-Za-z0-9]", "", name)), "_")
    assay
}

given_columns <- function(group.by, label.by, cells, call = rlang::caller_env()) {
    columns <- list(group.by = cell_vector(group.by, cells, "group.by", call), label.by = cell_vector(label.by, cells, "label.by", call))
    Filter(Negate(is.null), columns)
}

seurat_reduction <- function(object, name, cells, call) {
    if (!name %in% SeuratObject::Reductions(object)) {
        there <- SeuratObject::Reductions(object)
        abort_tutti("argument", sprintf("there is no reduction `%s`; %s.", name, if (length(there) == 0) "the object has none" else paste0("the reductions are: ", paste(there, collapse = ", "))), call)
    }
    SeuratObject::Embeddings(object, reduction = name)[cells, , drop = FALSE]
}

abort_no_batch <- function(table, where, call = rlang::caller_env()) {
    abort_tutti("argument", sprintf("`group.by` is missing: which column of %s is the batch? %s; `group.by = NULL` takes all cells as one batch.", where, candidates(table)), call)
}

#' @export
print.tutti_embedding <- function(x, ...) {
    cat(sprintf("%s embedding of %d cells in %d dimensions, trained on %d features for %d epochs\n", toupper(attr(x, "system")), nrow(x$embedding), ncol(x$embedding), length(x$features), nrow(x$history)))
    invisible(x)
}

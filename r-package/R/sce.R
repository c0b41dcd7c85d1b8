# SingleCellExperiment: its classes are needed only where an object of them is given.

sce_input <- function(object, assay, columns, call = rlang::caller_env()) {
    there <- SummarizedExperiment::assayNames(object)
    wanted <- if (is.null(assay)) intersect(c("counts", "logcounts"), there) else check_string(assay, "assay", call = call)
    if (length(wanted) == 0 || !wanted[[1]] %in% there) {
        abort_tutti("argument", sprintf("there is no assay `%s`; the assays are: %s.", if (is.null(assay)) "counts" else assay, paste(there, collapse = ", ")), call)
    }
    input <- cells_input(list(SummarizedExperiment::assay(object, wanted[[1]])), origin = sprintf("assay `%s`", wanted[[1]]), choose = "`assay`", call = call)
    table <- as.data.frame(SummarizedExperiment::colData(object), optional = TRUE)
    input$columns <- lapply(columns, function(name) table_column(table, name, input$cells, "colData", call))
    input
}

sce_reduction <- function(object, name, call = rlang::caller_env()) {
    there <- SingleCellExperiment::reducedDimNames(object)
    if (!name %in% there) {
        known <- if (length(there) == 0) "the object has none" else paste0("there are: ", paste(there, collapse = ", "))
        abort_tutti("argument", sprintf("there is no reduced dimension `%s`; %s.", name, known), call)
    }
    as.matrix(SingleCellExperiment::reducedDim(object, name))
}

add_to_sce <- function(object, out, reduction.name) {
    SingleCellExperiment::reducedDim(object, reduction.name) <- out$embedding[colnames(object), , drop = FALSE]
    all <- S4Vectors::metadata(object)
    all$tutti[[reduction.name]] <- list(model = out$model, history = out$history)
    S4Vectors::metadata(object) <- all
    if (!is.null(out$classes)) {
        prefix <- attr(out, "system")
        SummarizedExperiment::colData(object)[[paste0(prefix, "_class")]] <- out$classes$class
        SummarizedExperiment::colData(object)[[paste0(prefix, "_class_probability")]] <- out$classes$probability
    }
    object
}

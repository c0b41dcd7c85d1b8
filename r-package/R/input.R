# Cells of any object as Rust takes them: list(matrices, cells, genes, columns, origin, choose). `origin` says where the values come from, and
# `choose` by which arguments others are chosen.
#
# The matrices are of class dgCMatrix, features x cells, and read in place: a Seurat or SingleCellExperiment object that holds one is not
# copied. Other matrices in memory are converted once, those on disk go over by blocks of cells (blocks.R).

# A sparse matrix of doubles, by column.
as_dgcmatrix <- function(x, name = "`object`", call = rlang::caller_env()) {
    if (methods::is(x, "dgCMatrix")) {
        return(x)
    }
    if (is.matrix(x) && !is.numeric(x) && !is.logical(x)) {
        abort_tutti("argument", sprintf("%s is a matrix of type %s; give numbers.", name, typeof(x)), call)
    }
    if (is.matrix(x) && anyNA(x)) {
        abort_missing(x, name, call)
    }
    if (is.matrix(x) || methods::is(x, "Matrix")) {
        return(as(as(as(x, "dMatrix"), "generalMatrix"), "CsparseMatrix"))
    }
    abort_tutti("argument", sprintf("%s is of class %s; give a Seurat object, a SingleCellExperiment or a matrix of features x cells.", name, class(x)[[1]]), call)
}

abort_missing <- function(x, name, call) {
    at <- which(is.na(x), arr.ind = TRUE)[1, ]
    place <- function(names, i) if (is.null(names)) sprintf("number %d", i) else names[[i]]
    message <- sprintf("%s has a missing value for cell %s and gene %s; replace it by a number or drop the cell.", name, place(colnames(x), at[[2]]), place(rownames(x), at[[1]]))
    abort_tutti("value", message, call)
}

# One matrix or several side by side (split layers), with the features that all have.
cells_input <- function(matrices, columns = list(), origin = "`object`", choose = origin, call = rlang::caller_env()) {
    matrices <- lapply(matrices, function(m) if (comes_by_blocks(m)) m else as_dgcmatrix(m, origin, call))
    features <- lapply(matrices, function(m) rownames(m))
    cells <- unlist(lapply(matrices, colnames), use.names = FALSE)
    if (any(vapply(features, is.null, NA)) || is.null(cells) || any(vapply(matrices, function(m) is.null(colnames(m)), NA))) {
        abort_tutti("data", sprintf("%s has no names of features (rows) or cells (columns); set them by `dimnames()`.", origin), call)
    }
    shared <- Reduce(intersect, features)
    if (length(shared) == 0 && length(matrices) > 1) {
        abort_tutti("data", sprintf("the layers of %s have no feature in common.", origin), call)
    }
    if (anyDuplicated(cells)) {
        message <- "cell name `%s` occurs twice in %s; make cell names unique, e.g. `RenameCells(object, new.names = make.unique(colnames(object)))`."
        abort_tutti("data", sprintf(message, cells[anyDuplicated(cells)], origin), call)
    }
    list(matrices = lapply(matrices, ready_matrix, shared, call), cells = cells, genes = shared, columns = columns, origin = origin, choose = choose)
}

# With these features, as Rust reads it.
ready_matrix <- function(x, features, call) {
    same <- identical(rownames(x), features)
    if (comes_by_blocks(x)) {
        return(read_blocks(x, if (!same) features, call))
    }
    if (same) x else x[features, , drop = FALSE]
}

# ---- Seurat ----------------------------------------------------------------------------------------------------------------------------

# Layers of an assay by name of SeuratObject 5, or slots of version 4; only those with values.
layers_there <- function(assay) {
    if (has_layers()) {
        return(layers_of(assay))
    }
    slots <- c("counts", "data")
    Filter(function(s) length(SeuratObject::GetAssayData(assay, slot = s)) > 0, slots)
}

has_layers <- function() utils::packageVersion("SeuratObject") >= "5.0.0"

layers_of <- function(assay) get("Layers", envir = asNamespace("SeuratObject"))(assay)

layer_data <- function(assay, layer) {
    if (has_layers()) {
        return(get("LayerData", envir = asNamespace("SeuratObject"))(assay, layer = layer))
    }
    SeuratObject::GetAssayData(assay, slot = layer)
}

# The layers to read: `layer` and, where it is split by batch, its parts `layer.1`, `layer.2`.
choose_layers <- function(assay, layer, name, call) {
    layer <- check_string(layer, "layer", null = TRUE, call = call)
    there <- layers_there(assay)
    parts <- function(l) there[there == l | startsWith(there, paste0(l, "."))]
    for (candidate in if (is.null(layer)) c("counts", "data") else layer) {
        if (length(parts(candidate)) > 0) {
            return(parts(candidate))
        }
    }
    found <- if (length(there) == 0) "it has no layer with values" else paste0("its layers are: ", paste(there, collapse = ", "))
    abort_tutti("argument", sprintf("assay %s has no layer %s; %s.", name, if (is.null(layer)) "`counts` or `data`" else sprintf("`%s`", layer), found), call)
}

seurat_input <- function(object, assay, layer, columns, call = rlang::caller_env()) {
    assay <- if (is.null(assay)) SeuratObject::DefaultAssay(object) else check_string(assay, "assay", call = call)
    if (!assay %in% SeuratObject::Assays(object)) {
        abort_tutti("argument", sprintf("there is no assay `%s`; the assays are: %s.", assay, paste(SeuratObject::Assays(object), collapse = ", ")), call)
    }
    layers <- choose_layers(object[[assay]], layer, assay, call)
    matrices <- lapply(layers, function(l) layer_data(object[[assay]], l))
    input <- cells_input(matrices, origin = sprintf("layer `%s` of assay `%s`", paste(layers, collapse = "`, `"), assay), choose = "`assay` and `layer`", call = call)
    table <- object[[]]
    input$columns <- lapply(columns, function(name) table_column(table, name, input$cells, "meta.data", call))
    names(input$columns) <- names(columns)
    input$assay <- assay
    input
}

# ---- Columns of cells ------------------------------------------------------------------------------------------------------------------

# The factor of one column, or of the combinations of several, joined to the cells by name, with the levels that occur.
table_column <- function(table, name, cells, where, call) droplevels(table_categories(table, name, cells, where, call))

table_categories <- function(table, name, cells, where, call) {
    if (length(name) == 0) {
        abort_tutti("argument", sprintf("no column of %s is named; %s.", where, candidates(table)), call)
    }
    missing <- setdiff(name, colnames(table))
    if (length(missing) > 0) {
        abort_tutti("argument", sprintf("there is no column `%s` in %s; %s.", missing[[1]], where, candidates(table)), call)
    }
    rows <- match(cells, rownames(table))
    if (anyNA(rows)) {
        abort_tutti("data", sprintf("cell %s is not in %s.", cells[is.na(rows)][[1]], where), call)
    }
    parts <- lapply(name, function(n) as_category(table[[n]][rows]))
    if (length(parts) == 1) parts[[1]] else interaction(parts, sep = "_", lex.order = TRUE)
}

# Texts in the order that the core gives to categories, whatever the locale sorts by: a model trained here is that of the command line.
as_category <- function(x) {
    if (is.factor(x) || !is.character(x)) as.factor(x) else factor(x, natural_order(unique(x[!is.na(x)])))
}

# Runs of digits count as numbers (`cluster 9` before `cluster 10`), all else goes by its bytes.
natural_order <- function(texts) {
    texts <- enc2utf8(texts)
    key <- texts
    at <- gregexpr("[0-9]+", texts)
    # Of two numbers without leading zeros the longer is the larger; a number comes before any text.
    regmatches(key, at) <- lapply(regmatches(texts, at), function(digits) {
        number <- sub("^0+", "", digits)
        sprintf("\001%04d%s", nchar(number), number)
    })
    texts[order(key, texts, method = "radix")]
}

candidates <- function(table) {
    n <- vapply(table, function(x) if (is.factor(x) || is.character(x) || is.logical(x)) length(unique(x)) else 0L, 0L)
    n <- n[n > 1 & n < nrow(table)]
    if (length(n) == 0) {
        return("it has no column of categories")
    }
    paste0("candidates: ", paste(sprintf("%s (%d levels)", names(n), n), collapse = ", "))
}

# A vector of one value per cell as a factor; a named one is joined by name.
cell_vector <- function(x, cells, name, call) {
    if (!is.null(x)) droplevels(as_category(one_per_cell(x, cells, name, call)))
}

one_per_cell <- function(x, cells, name, call) {
    if (!is.null(names(x))) {
        at <- match(cells, names(x))
        if (anyNA(at)) {
            abort_tutti("data", sprintf("`%s` has no value for cell %s.", name, cells[is.na(at)][[1]]), call)
        }
        x <- x[at]
    }
    if (length(x) != length(cells)) {
        abort_tutti("data", sprintf("`%s` has %d values for %d cells; give one per cell.", name, length(x), length(cells)), call)
    }
    unname(x)
}

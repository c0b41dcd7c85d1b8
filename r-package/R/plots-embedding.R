# Cells as points of a plane.

#' Draw an embedding
#'
#' Cells in two dimensions, in random order so that no batch covers another (of numbers, the largest lie on top), with one scale for both axes.
#'
#' @param object A Seurat object, a SingleCellExperiment, what [RunConcord()] gives for a matrix, or a matrix of places, one row per cell.
#' @param reduction Name of the reduction. Default: the last one with UMAP or t-SNE in its name, else the last.
#' @param color.by What colours tell: name of a column of the cells' table or of a feature, or one value per cell. Numbers have a continuous scale,
#'   all else colours of categories, which come again from the 41st on. A factor has its colours by all its levels, those without cells too, so that
#'   two parts of an object can be compared. Default: the identities of a Seurat object, else nothing.
#' @param split.by Column or values by which to draw a panel each, the cells of the other panels in grey beneath.
#' @param dims The two dimensions to draw.
#' @param label Write the names of the categories amid their cells.
#' @param highlight Levels of `color.by` to keep in colour; all other cells are grey, beneath.
#' @param levels Levels of `color.by` in the order of their colours, `levels(reference$celltype)` say, so that the cells of a query have the colours of
#'   its reference. Default: the levels of the factor, or for texts those that occur.
#' @param pt.size Size of points. Default: by the number of cells.
#' @param shuffle `FALSE` draws cells in the order of the object.
#' @param seed Seed of the random order. R's own random numbers are left alone.
#' @return A ggplot. Cells without a category or value are light grey, beneath, and in the legend as missing.
#' @examplesIf requireNamespace("ggplot2", quietly = TRUE)
#' pbmc <- SeuratObject::pbmc_small
#' PlotEmbedding(pbmc, reduction = "tsne", color.by = "letter.idents", label = TRUE)
#' PlotEmbedding(pbmc, reduction = "tsne", color.by = "LYZ", split.by = "groups")
#' @family figures
#' @export
PlotEmbedding <- function(object, reduction = NULL, color.by = NULL, split.by = NULL, dims = 1:2, label = FALSE, highlight = NULL, levels = NULL,
                          pt.size = NULL, shuffle = TRUE, seed = 1) {
    needs_package("ggplot2")
    call <- rlang::current_env()
    check_flag(label)
    embedding <- embedding_of(object, reduction, call)
    if (is.null(color.by) && methods::is(object, "Seurat")) {
        color.by <- "ident"
    }
    data <- places(embedding, dims, call)
    data$color <- colored_by(value_of_cells(object, color.by, embedding, "color.by", call), levels, call)
    data$split <- paneled_by(value_of_cells(object, split.by, embedding, "split.by", call))
    check_highlight(highlight, data$color, call)
    look <- list(
        size = if (is.null(pt.size)) fitted_size(nrow(data), nlevels(data$split)) else check_number(pt.size),
        alpha = if (nrow(data) > 1000) 0.8 else 0.9,
        colors = if (is.factor(data$color)) level_colors(data$color)
    )
    data <- data[drawing_order(nrow(data), data$color, look$colors, check_flag(shuffle), check_count(seed, least = 0)), , drop = FALSE]
    shown <- if (is.null(highlight)) data else data[data$color %in% highlight, , drop = FALSE]
    axes <- axis_names(embedding, dims)

    ggplot2::ggplot(shown, ggplot2::aes(.data$x, .data$y)) +
        (if (!is.null(highlight) || !is.null(split.by)) beneath(data, look)) +
        colored_points(shown, look) +
        (if (!is.null(split.by)) ggplot2::facet_wrap("split", drop = FALSE)) +
        axis_arrows(base::levels(data$split)) +
        (if (label && is.factor(shown$color)) cluster_labels(shown, names(look$colors)[look$colors != missing_color])) +
        ggplot2::labs(x = axes[[1]], y = axes[[2]], color = if (length(color.by) == 1) color.by) +
        ggplot2::coord_fixed(clip = "off") +
        theme_embedding()
}

# ---- What is drawn ---------------------------------------------------------------------------------------------------------------------

# Matrix of one row per cell.
embedding_of <- function(object, reduction, call) {
    if (methods::is(object, "Seurat")) {
        return(seurat_reduction(object, chosen_reduction(reduction, SeuratObject::Reductions(object), call), colnames(object), call))
    }
    if (methods::is(object, "SingleCellExperiment")) {
        return(sce_reduction(object, chosen_reduction(reduction, SingleCellExperiment::reducedDimNames(object), call), call))
    }
    if (inherits(object, "tutti_embedding")) {
        return(object$embedding)
    }
    if (is.matrix(object) && is.numeric(object)) {
        return(object)
    }
    message <- sprintf("`object` is of class %s; give a Seurat object, a SingleCellExperiment or a matrix of one row per cell.", class(object)[[1]])
    abort_tutti("argument", message, call)
}

chosen_reduction <- function(reduction, there, call) {
    if (!is.null(reduction)) {
        return(check_string(reduction, call = call))
    }
    if (length(there) == 0) {
        abort_tutti("argument", "the object has no reduction to draw; compute one, e.g. by Seurat's RunUMAP().", call)
    }
    flat <- grep("umap|tsne", there, value = TRUE, ignore.case = TRUE)
    utils::tail(if (length(flat) > 0) flat else there, 1)
}

places <- function(embedding, dims, call) {
    if (!is.numeric(dims) || length(dims) != 2 || anyNA(dims) || !all(dims %in% seq_len(ncol(embedding)))) {
        abort_tutti("argument", sprintf("`dims` must be two of the %d dimensions, not %s.", ncol(embedding), paste(format(dims), collapse = ", ")), call)
    }
    if (nrow(embedding) == 0) {
        abort_tutti("data", "the embedding has no cells; there is nothing to draw.", call)
    }
    chosen <- embedding[, dims, drop = FALSE]
    if (!all(is.finite(chosen))) {
        abort_tutti("value", sprintf("the place of cell number %d is not finite; leave the cell out.", which(!is.finite(rowSums(chosen)))[[1]]), call)
    }
    data.frame(x = unname(chosen[, 1]), y = unname(chosen[, 2]))
}

# `UMAP_1` reads as `UMAP 1`.
axis_names <- function(embedding, dims) {
    names <- colnames(embedding)
    if (is.null(names)) sprintf("dimension %g", dims) else sub("_([0-9]+)$", " \\1", names[dims])
}

# A column, a feature, or values one per cell; of each kind as it is, numbers or categories.
value_of_cells <- function(object, by, embedding, name, call) {
    cells <- rownames(embedding)
    has_table <- methods::is(object, "Seurat") || methods::is(object, "SingleCellExperiment")
    if (is.null(by) || !has_table || !is.character(by) || length(by) != 1) {
        given <- if (is.null(cells)) unname(by) else by
        return(if (!is.null(by)) one_per_cell(given, if (is.null(cells)) seq_len(nrow(embedding)) else cells, name, call))
    }
    known <- cell_table(object, call)
    if (by %in% names(known$table)) {
        return(known$table[[by]])
    }
    value <- feature_values(object, by)
    if (is.null(value)) {
        abort_tutti("argument", sprintf("`%s`: there is no column `%s` in %s and no such feature; %s.", name, by, known$where, candidates(known$table)), call)
    }
    value
}

# Numbers, or categories with the missing ones.
colored_by <- function(values, levels, call) {
    if (is.null(levels) || is.null(values)) {
        return(if (is.numeric(values)) replace(values, !is.finite(values), NA) else paneled_by(values))
    }
    lacking <- setdiff(as.character(values[!is.na(values)]), levels)
    if (length(lacking) > 0) {
        abort_tutti("argument", sprintf("`levels` lacks %s, which `color.by` has; give all its levels.", said(lacking[[1]])), call)
    }
    with_missing(factor(values, levels = unique(levels)))
}

paneled_by <- function(values) if (!is.null(values)) with_missing(values)

feature_values <- function(object, feature) {
    if (!feature %in% rownames(object)) {
        return(NULL)
    }
    if (methods::is(object, "Seurat")) {
        return(SeuratObject::FetchData(object, feature)[[1]])
    }
    there <- SummarizedExperiment::assayNames(object)
    as.numeric(SummarizedExperiment::assay(object, if ("logcounts" %in% there) "logcounts" else there[[1]])[feature, ])
}

check_highlight <- function(highlight, color, call) {
    if (is.null(highlight)) {
        return(invisible())
    }
    if (!is.factor(color)) {
        abort_tutti("argument", "`highlight` names levels of `color.by`, which must be a column of categories.", call)
    }
    unknown <- setdiff(highlight, levels(color))
    if (length(unknown) > 0) {
        abort_tutti("argument", sprintf("`color.by` has no level `%s` to highlight; its levels are: %s.", unknown[[1]], paste(levels(color), collapse = ", ")), call)
    }
}

# ---- How it is drawn -------------------------------------------------------------------------------------------------------------------

# Points fill three tenths of a panel of 69 mm, or of its share where there are several.
fitted_size <- function(n_cells, n_panels) {
    side <- 260 / ceiling(sqrt(max(n_panels, 1)))
    0.7 * min(max(sqrt(0.3 * side^2 / (n_cells * pi)), 0.4), 3.5)
}

# Missing first, numbers by size; chance decides the rest.
drawing_order <- function(n, color, colors, shuffle, seed) {
    shuffled <- if (shuffle) with_seed(seed, sample.int(n)) else seq_len(n)
    height <- if (is.numeric(color)) color else if (is.null(color)) rep(0, n) else as.numeric(colors[as.character(color)] != missing_color)
    shuffled[order(height[shuffled], na.last = FALSE)]
}

# Evaluates with random numbers of its own.
with_seed <- function(seed, expression) {
    old <- get0(".Random.seed", envir = globalenv(), inherits = FALSE)
    restore <- function() if (is.null(old)) rm(".Random.seed", envir = globalenv()) else assign(".Random.seed", old, envir = globalenv())
    on.exit(restore())
    set.seed(seed, kind = "Mersenne-Twister", normal.kind = "Inversion", sample.kind = "Rejection")
    expression
}

# Every cell in grey, in every panel.
beneath <- function(data, look) {
    ggplot2::geom_point(data = data[c("x", "y")], color = grid_color, size = look$size, shape = 16)
}

colored_points <- function(data, look) {
    points <- function(...) ggplot2::geom_point(..., size = look$size, shape = 16, alpha = look$alpha)
    if (is.null(data$color)) {
        return(points(color = soft_color))
    }
    if (is.numeric(data$color)) {
        return(numbered_points(data, look, points))
    }
    key <- ggplot2::guide_legend(ncol = ceiling(length(unique(data$color)) / 16), override.aes = list(size = 2, alpha = 1))
    there <- intersect(names(look$colors), as.character(data$color))
    list(points(ggplot2::aes(color = .data$color)), ggplot2::scale_colour_manual(values = look$colors, limits = there, guide = key))
}

# A bar has no place for the missing: they have an entry of their own.
numbered_points <- function(data, look, points) {
    layers <- list(
        points(ggplot2::aes(color = .data$color), data = data[!is.na(data$color), , drop = FALSE]),
        scale_color_tutti("viridis", guide = ggplot2::guide_colorbar(order = 1))
    )
    missing <- data[is.na(data$color), , drop = FALSE]
    if (nrow(missing) == 0) {
        return(layers)
    }
    entry <- ggplot2::guide_legend(order = 2, override.aes = list(size = 2, color = missing_color, alpha = 1))
    grey <- ggplot2::geom_point(ggplot2::aes(shape = "missing"), missing, color = missing_color, size = look$size, alpha = look$alpha)
    c(list(grey, ggplot2::scale_shape_manual(NULL, values = c(missing = 16), guide = entry)), layers)
}

theme_embedding <- function() {
    blank <- ggplot2::element_blank()
    name <- function(...) ggplot2::element_text(size = ggplot2::rel(0.85), color = soft_color, hjust = 0, margin = ggplot2::margin(..., unit = "mm"))
    theme_plain() + ggplot2::theme(axis.text = blank, axis.title.x = name(t = 2.2), axis.title.y = name(r = 2.2))
}

# Short arrows from the lower left corner, of the lower left panel where there are several.
axis_arrows <- function(panels) {
    outside <- grid::unit(-1.2, "mm")
    along <- grid::unit(8, "mm")
    arrows <- grid::linesGrob(
        grid::unit.c(outside, outside, along), grid::unit.c(along, outside, outside),
        arrow = grid::arrow(angle = 25, length = grid::unit(1.4, "mm"), ends = "both", type = "closed"), gp = grid::gpar(col = ink_color, fill = ink_color, lwd = 0.9)
    )
    data <- data.frame(x = NA)
    if (length(panels) > 0) {
        size <- ggplot2::wrap_dims(length(panels))
        data$split <- factor(panels[[(size[[1]] - 1) * size[[2]] + 1]], levels = panels)
    }
    ggplot2::layer(
        data = data, mapping = NULL, geom = ggplot2::GeomCustomAnn, stat = "identity", position = "identity", inherit.aes = FALSE, show.legend = FALSE,
        params = list(grob = arrows, xmin = -Inf, xmax = Inf, ymin = -Inf, ymax = Inf)
    )
}

# Names at the medians of their cells, with a white rim.
cluster_labels <- function(data, levels) {
    groups <- split(data, data[intersect(c("color", "split"), names(data))], drop = TRUE)
    groups <- groups[vapply(groups, function(g) as.character(g$color[[1]]) %in% levels, NA)]
    labels <- do.call(rbind, lapply(groups, function(g) {
        label <- g[1, , drop = FALSE]
        label[c("x", "y")] <- list(stats::median(g$x), stats::median(g$y))
        label
    }))
    # A line of text is about a twentieth of a panel high.
    height <- 0.05 * max(diff(range(data$x)), diff(range(data$y)))
    panels <- if (is.null(labels$split)) factor(rep(1, nrow(labels))) else droplevels(labels$split)
    labels <- do.call(rbind, lapply(split(labels, panels), pushed_apart, height = height))
    text <- function(data, color) ggplot2::geom_text(ggplot2::aes(label = .data$color), data, color = color, fontface = "bold", size = text_size(7))
    list(text(rim_of(labels, 0.1 * height, 0.1 * height), "white"), text(labels, ink_color))
}

# Moves names up and down until none covers another; a letter is about half as wide as high.
pushed_apart <- function(labels, height) {
    width <- 0.55 * height * nchar(as.character(labels$color))
    for (round in 1:200) {
        moved <- FALSE
        for (i in seq_len(nrow(labels))[-1]) {
            for (j in seq_len(i - 1)) {
                below <- labels$y[[i]] - labels$y[[j]]
                if (abs(labels$x[[i]] - labels$x[[j]]) < 0.5 * (width[[i]] + width[[j]]) && abs(below) < height) {
                    push <- (0.5 * (height - abs(below)) + 0.01 * height) * (if (below < 0) -1 else 1)
                    labels$y[c(i, j)] <- labels$y[c(i, j)] + c(push, -push)
                    moved <- TRUE
                }
            }
        }
        if (!moved) {
            break
        }
    }
    labels
}

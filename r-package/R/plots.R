# What all figures share: the look, the columns of any object, and missing values as a category of their own.

needs_package <- function(package, call = rlang::caller_env()) {
    if (!requireNamespace(package, quietly = TRUE)) {
        abort_tutti("package", sprintf("figures are drawn by the package %s, which is not installed: install.packages(\"%s\").", package, package), call)
    }
}

#' Look of the figures
#'
#' White, with horizontal lines to read values by, bold titles of panels and legends, and text that is readable in a column of a journal (89 mm).
#'
#' @param base_size Size of the names of axes in points; all other text follows.
#' @param base_family Font.
#' @return A theme to add to a ggplot.
#' @examplesIf requireNamespace("ggplot2", quietly = TRUE)
#' library(ggplot2)
#' ggplot(mtcars, aes(wt, mpg)) + geom_point() + theme_tutti()
#' @importFrom rlang .data
#' @family figures
#' @export
theme_tutti <- function(base_size = 8, base_family = "") {
    needs_package("ggplot2")
    check_number(base_size)
    line <- function(color, width = 0.3) ggplot2::element_line(color = color, linewidth = width)
    blank <- ggplot2::element_blank()
    bold <- function(size, ...) ggplot2::element_text(face = "bold", size = ggplot2::rel(size), hjust = 0, ...)
    small <- ggplot2::element_text(size = ggplot2::rel(11 / 12), color = ink_color)
    theme <- ggplot2::theme(
        text = ggplot2::element_text(color = ink_color),
        axis.title = ggplot2::element_text(size = ggplot2::rel(1)),
        axis.text = small, axis.line = line(ink_color), axis.ticks = line(ink_color), axis.ticks.y = blank,
        panel.grid.major.x = blank, panel.grid.minor = blank, panel.grid.major.y = line(grid_color), panel.border = blank,
        panel.background = blank, panel.spacing = grid::unit(1.2, "lines"),
        plot.background = ggplot2::element_rect(fill = "white", color = NA), plot.title = bold(14 / 12),
        strip.background = blank, strip.text = bold(1, margin = ggplot2::margin(b = base_size / 3)), strip.clip = "off",
        legend.key = blank, legend.background = blank, legend.title = bold(1, margin = ggplot2::margin(b = base_size / 2)), legend.text = small, legend.justification = "top",
        legend.key.size = grid::unit(0.9, "lines"), legend.box.just = "left"
    )
    ggplot2::theme_bw(base_size = base_size, base_family = base_family) + theme
}

# Without axes, for heatmaps, rivers and bars that carry their names.
theme_plain <- function() {
    blank <- ggplot2::element_blank()
    theme_tutti() + ggplot2::theme(axis.line = blank, axis.ticks = blank, panel.grid.major.y = blank)
}

# Copies of names moved around a circle, to lie in white beneath them.
rim_of <- function(labels, x, y) {
    turn <- seq(0, 2 * pi, length.out = 13)[-1]
    rim <- labels[rep(seq_len(nrow(labels)), each = length(turn)), , drop = FALSE]
    rim$x <- rim$x + x * cos(turn)
    rim$y <- rim$y + y * sin(turn)
    rim
}

# Size of text within a panel that is `points` high in print.
text_size <- function(points) points / ggplot2::.pt

# Round numbers, only whole ones: for epochs and counts.
whole_breaks <- function(limits) {
    breaks <- pretty(limits, n = 4)
    breaks <- unique(round(breaks))
    breaks[breaks >= limits[[1]] & breaks <= limits[[2]]]
}

# ---- Columns of cells ------------------------------------------------------------------------------------------------------------------

# The table of the cells, and what its owner calls it.
cell_table <- function(object, call = rlang::caller_env()) {
    if (methods::is(object, "Seurat")) {
        table <- object[[]]
        if (!"ident" %in% names(table)) {
            table$ident <- SeuratObject::Idents(object)
        }
        return(list(table = table, where = "meta.data"))
    }
    if (methods::is(object, "SingleCellExperiment")) {
        return(list(table = as.data.frame(SummarizedExperiment::colData(object), optional = TRUE), where = "colData"))
    }
    if (is.data.frame(object)) {
        return(list(table = object, where = "the data frame"))
    }
    message <- sprintf("`object` is of class %s; give a Seurat object, a SingleCellExperiment or a data frame.", class(object)[[1]])
    abort_tutti("argument", message, call)
}

has_columns <- function(table, columns, name, call) {
    if (!is.data.frame(table)) {
        abort_tutti("argument", sprintf("`%s` must be a data frame, not %s.", name, said(table)), call)
    }
    missing <- setdiff(columns, names(table))
    if (length(missing) > 0) {
        abort_tutti("argument", sprintf("`%s` has no column `%s`; it needs %s.", name, missing[[1]], paste(columns, collapse = ", ")), call)
    }
    if (nrow(table) == 0) {
        abort_tutti("data", sprintf("`%s` has no rows; there is nothing to draw.", name), call)
    }
}

# Levels that occur, in their order; missing values are the last one, by name. Colours are given by all levels, those that do not occur too: a part of
# the cells is drawn in the colours of the whole.
with_missing <- function(x) {
    x <- as_category(x)
    colors <- colors_of(levels(x))
    x <- droplevels(x)
    if (anyNA(x)) {
        name <- if ("missing" %in% levels(x)) "missing (NA)" else "missing"
        at <- is.na(x)
        levels(x) <- c(levels(x), name)
        x[at] <- name
        attr(x, "missing") <- name
        colors[name] <- missing_color
    }
    attr(x, "colors") <- colors
    x
}

colors_of <- function(levels) stats::setNames(tutti_colors(length(levels)), levels)

# A colour per level, grey for the missing ones.
level_colors <- function(x) attr(x, "colors")[levels(x)]

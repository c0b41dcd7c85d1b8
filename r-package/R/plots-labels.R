# Labels against labels: composition of clusters, confusion of classes, and where cells go.

#' Draw what groups are made of
#'
#' Shares of the levels of `split.by` (batches, say) in each level of `group.by` (clusters, say), as bars, with the number of cells.
#'
#' @param object A Seurat object, a SingleCellExperiment or a data frame of one row per cell.
#' @param group.by Column with a bar per level.
#' @param split.by Column whose shares are drawn.
#' @return A ggplot. Missing values are a level of their own, the last one, of `split.by` in grey.
#' @examplesIf requireNamespace("ggplot2", quietly = TRUE)
#' PlotComposition(SeuratObject::pbmc_small, group.by = "ident", split.by = "groups")
#' @family figures
#' @export
PlotComposition <- function(object, group.by, split.by) {
    needs_package("ggplot2")
    call <- rlang::current_env()
    known <- cell_table(object, call)
    column <- function(name, argument) {
        with_missing(table_categories(known$table, check_string(name, argument, call = call), rownames(known$table), known$where, call))
    }
    whole <- column(group.by, "group.by")
    part <- column(split.by, "split.by")
    counts <- as.data.frame(table(group = whole, part = part), responseName = "n", stringsAsFactors = TRUE)
    counts$share <- counts$n / stats::ave(counts$n, counts$group, FUN = sum)
    totals <- as.data.frame(table(group = whole), responseName = "n", stringsAsFactors = TRUE)
    totals$label <- format(totals$n, big.mark = ",", trim = TRUE)
    ggplot2::ggplot(counts[counts$n > 0, ], ggplot2::aes(y = .data$group)) +
        ggplot2::geom_col(ggplot2::aes(.data$share, fill = .data$part), width = 0.76, position = ggplot2::position_stack(reverse = TRUE)) +
        ggplot2::geom_text(ggplot2::aes(x = 1.02, label = .data$label), totals, hjust = 0, color = soft_color, size = text_size(7)) +
        ggplot2::scale_y_discrete(NULL, limits = rev(levels(whole))) +
        ggplot2::scale_x_continuous("share, and number of cells", breaks = c(0, 0.5, 1), expand = ggplot2::expansion(c(0, 0.05 + 0.03 * max(nchar(totals$label))))) +
        ggplot2::scale_fill_manual(split.by, values = level_colors(part), guide = ggplot2::guide_legend(ncol = ceiling(nlevels(part) / 16))) +
        theme_plain() +
        ggplot2::theme(axis.ticks.x = ggplot2::element_line(color = ink_color, linewidth = 0.3))
}

# Classes up to which counts are written.
written_classes <- 12

#' Draw a confusion matrix
#'
#' How the cells of each true class (row) were called: colours by the share of the row, and up to 12 classes the number of cells.
#'
#' @param truth,predicted One label per cell. Where both are named, predictions are joined by name.
#' @return A ggplot. Missing labels are a class of their own, the last one.
#' @examplesIf requireNamespace("ggplot2", quietly = TRUE)
#' pbmc <- SeuratObject::pbmc_small
#' PlotConfusion(pbmc$letter.idents, pbmc$RNA_snn_res.1)
#' @family figures
#' @export
PlotConfusion <- function(truth, predicted) {
    needs_package("ggplot2")
    columns <- label_columns(list(truth = truth, predicted = predicted), rlang::current_env())
    # Classes that both have stand in the same order, so that the diagonal is what is right.
    called <- unique(c(intersect(levels(columns$truth), levels(columns$predicted)), levels(columns$predicted)))
    counts <- as.data.frame(table(truth = columns$truth, predicted = factor(columns$predicted, called)), responseName = "n", stringsAsFactors = TRUE)
    counts$share <- counts$n / stats::ave(counts$n, counts$truth, FUN = sum)
    counts$ink <- ink_on(map_at(blues_map, counts$share))
    names_size <- ggplot2::rel(min(1, 24 / nlevels(counts$predicted)) * 11 / 12)
    plot <- ggplot2::ggplot(counts, ggplot2::aes(.data$predicted, .data$truth)) +
        ggplot2::geom_tile(ggplot2::aes(fill = .data$share)) +
        scale_fill_tutti("blues", name = "share of row", limits = c(0, 1), breaks = c(0, 0.5, 1)) +
        ggplot2::scale_y_discrete("true", limits = rev(levels(counts$truth)), expand = c(0, 0)) +
        ggplot2::scale_x_discrete("predicted", position = "top", expand = c(0, 0)) +
        ggplot2::coord_fixed() +
        theme_plain() +
        ggplot2::theme(
            axis.text.x.top = ggplot2::element_text(angle = 90, hjust = 0, vjust = 0.5, size = names_size),
            axis.text.y = ggplot2::element_text(size = names_size),
            axis.title.x.top = ggplot2::element_text(margin = ggplot2::margin(b = 1.5, unit = "mm")),
            panel.border = ggplot2::element_rect(color = soft_color, fill = NA, linewidth = 0.3)
        )
    if (length(called) > written_classes) {
        return(plot)
    }
    there <- counts[counts$n > 0, ]
    plot + ggplot2::geom_text(ggplot2::aes(label = .data$n), there, color = there$ink, size = text_size(6))
}

# Columns of labels of the same cells, each a factor with its missing values.
label_columns <- function(columns, call) {
    cells <- names(columns[[1]])
    length_of <- lengths(columns)
    joined <- lapply(names(columns), function(name) {
        column <- columns[[name]]
        if (is.null(cells) || is.null(names(column))) {
            column <- unname(column)
        }
        one_per_cell(column, if (is.null(names(column))) seq_len(length_of[[1]]) else cells, name, call)
    })
    if (length_of[[1]] == 0) {
        abort_tutti("data", "there are no cells to draw.", call)
    }
    stats::setNames(lapply(joined, with_missing), names(columns))
}

# ---- River -----------------------------------------------------------------------------------------------------------------------------

#' Draw where the cells of each label go
#'
#' A river (Sankey diagram) from column to column of labels: true labels, predicted labels and clusters, say. Heights are numbers of cells, and a flow has
#' the colour of the level that it comes from.
#'
#' @param from,to One label per cell each; or `from` alone, a data frame of two or more columns of labels, such as
#'   `object[[c("celltype", "seurat_clusters")]]`.
#' @param names What stands over the columns.
#' @return A ggplot. Missing labels are a level of their own, the last one, in grey. In a column that shares levels with the first one, these have the
#'   same colours as there.
#' @examplesIf requireNamespace("ggplot2", quietly = TRUE)
#' PlotRiver(SeuratObject::pbmc_small[[c("letter.idents", "RNA_snn_res.1", "groups")]])
#' @family figures
#' @export
PlotRiver <- function(from, to = NULL, names = NULL) {
    needs_package("ggplot2")
    call <- rlang::current_env()
    given <- if (is.data.frame(from) && is.null(to)) as.list(from) else if (!is.null(to)) list(from = from, to = to)
    if (length(given) < 2) {
        abort_tutti("argument", "a river needs two columns or more: give `from` and `to`, or a data frame of columns.", call)
    }
    columns <- label_columns(given, call)
    titles <- if (is.null(names)) base::names(columns) else as.character(names)
    if (length(titles) != length(columns)) {
        abort_tutti("argument", sprintf("`names` has %d names for %d columns.", length(titles), length(columns)), call)
    }
    columns <- lapply(columns, colored_like, columns[[1]])
    bars <- do.call(rbind, lapply(seq_along(columns), function(i) river_bars(columns[[i]], i)))
    flows <- do.call(rbind, lapply(seq_along(columns)[-1], function(i) river_flows(columns[[i - 1]], columns[[i]], bars, i)))
    half <- 0.5 * bar_width
    labels <- data.frame(x = bars$column + bars$side * (half + 0.02), y = bars$middle, label = bars$level, hjust = 0.5 - 0.5 * bars$side)
    text <- function(data, color) {
        ggplot2::geom_text(ggplot2::aes(.data$x, .data$y, label = .data$label, hjust = .data$hjust), data, color = color, size = text_size(7))
    }
    ggplot2::ggplot() +
        ggplot2::geom_polygon(ggplot2::aes(.data$x, .data$y, group = .data$flow, fill = .data$color), flows, alpha = 0.45) +
        ggplot2::geom_rect(ggplot2::aes(xmin = .data$column - half, xmax = .data$column + half, ymin = .data$top, ymax = .data$bottom, fill = .data$color), bars) +
        text(rim_of(labels, 0.002 * length(columns), 0.003), "white") +
        text(labels, ink_color) +
        ggplot2::scale_fill_identity() +
        ggplot2::scale_x_continuous(NULL, breaks = seq_along(columns), labels = titles, position = "top", expand = ggplot2::expansion(add = 0.35)) +
        ggplot2::scale_y_reverse(NULL, breaks = NULL, expand = c(0.01, 0)) +
        theme_plain() +
        ggplot2::theme(axis.text.x.top = ggplot2::element_text(face = "bold"))
}

# The column in the colours of another one for the levels that both have: a type keeps its colour when it is predicted.
colored_like <- function(column, other) {
    named <- function(x) setdiff(names(attr(x, "colors")), attr(x, "missing"))
    if (length(intersect(named(column), named(other))) > 0) {
        attr(column, "colors")[named(column)] <- colors_of(union(named(other), named(column)))[named(column)]
    }
    column
}

# Width of a bar, where the distance of two is 1.
bar_width <- 0.08

# Places of the levels of a column, one below the other, as high as they have cells; the whole river is 1 high.
river_bars <- function(column, at) {
    counts <- tabulate(column, nlevels(column))
    gap <- min(0.02, 0.3 / max(length(counts) - 1, 1))
    per_cell <- (1 - gap * (length(counts) - 1)) / sum(counts)
    bottom <- cumsum(counts * per_cell) + gap * (seq_along(counts) - 1)
    top <- bottom - counts * per_cell
    data.frame(
        column = at, level = levels(column), n = counts, top = top, bottom = bottom, color = unname(level_colors(column)),
        # Names stand outside the first column, and right of all others.
        side = if (at == 1) -1 else 1, middle = names_apart(0.5 * (top + bottom), 0.045)
    )
}

# The middles of names, moved as little as leaves room for each.
names_apart <- function(middles, height) {
    for (i in seq_along(middles)[-1]) {
        middles[[i]] <- max(middles[[i]], middles[[i - 1]] + height)
    }
    lowest <- 1 - 0.5 * height
    for (i in rev(seq_along(middles))) {
        middles[[i]] <- min(middles[[i]], lowest)
        lowest <- middles[[i]] - height
    }
    middles
}

# Outlines of the flows between two columns; at both ends, flows lie in the order of the levels on the other side.
river_flows <- function(from, to, bars, at) {
    counts <- unclass(table(from, to))
    bar <- function(column) bars[bars$column == column, ]
    banks <- function(bars, counts) {
        # One row per level; its flows from the top of its bar down.
        ends <- t(apply(counts, 1, cumsum)) * (bars$bottom - bars$top) / bars$n + bars$top
        matrix(ends, nrow(counts))
    }
    left <- banks(bar(at - 1), counts)
    right <- t(banks(bar(at), t(counts)))
    high_left <- counts * ((bar(at - 1)$bottom - bar(at - 1)$top) / bar(at - 1)$n)
    high_right <- t(t(counts) * ((bar(at)$bottom - bar(at)$top) / bar(at)$n))
    t <- seq(0, 1, length.out = 25)
    # Level at both ends.
    bend <- t^2 * (3 - 2 * t)
    x <- at - 1 + 0.5 * bar_width + (1 - bar_width) * t
    flow <- function(i, j) {
        bank <- function(a, b) a + (b - a) * bend
        lower <- bank(left[i, j], right[i, j])
        upper <- bank(left[i, j] - high_left[i, j], right[i, j] - high_right[i, j])
        name <- sprintf("%d: %s to %s", at - 1, rownames(counts)[[i]], colnames(counts)[[j]])
        data.frame(x = c(x, rev(x)), y = c(upper, rev(lower)), flow = name, n = counts[i, j], color = bar(at - 1)$color[[i]])
    }
    there <- which(counts > 0, arr.ind = TRUE)
    do.call(rbind, Map(flow, there[, 1], there[, 2]))
}

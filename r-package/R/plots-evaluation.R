# Scores and shapes of embeddings.

# Of each family of scores its name, and the map of its colours.
score_families <- list(
    biology = list(title = "Biology kept", map = viridis_map),
    batch = list(title = "Batches gone", map = blues_map),
    total = list(title = "Total", map = viridis_map),
    geometry = list(title = "Geometry kept", map = viridis_map),
    topology = list(title = "Topology kept", map = viridis_map)
)

# Difference between scores that colours run over at least.
score_spread <- 0.1

#' Draw scores of embeddings
#'
#' A row per embedding, best total first, and a tile per score; bars are what sums the others up. Colours run from the lowest to the highest of a column, but
#' over 0.1 at least, so that nearly equal scores look equal; numbers are the scores.
#'
#' @param scores What [ScoreIntegration()] returns, or another data frame with the columns `family` (biology, batch, total, geometry or topology), `score`, `title` and `is_aggregate`, and one column of
#'   values, 0 to 1, per embedding.
#' @return A ggplot. Scores that an embedding cannot have are a dash.
#' @examplesIf requireNamespace("ggplot2", quietly = TRUE)
#' pbmc <- SeuratObject::pbmc_small
#' PlotScores(ScoreIntegration(pbmc, label.by = "letter.idents", group.by = "groups"))
#' @family figures
#' @export
PlotScores <- function(scores) {
    needs_package("ggplot2")
    cells <- score_cells(scores, rlang::current_env())
    heads <- cells[!duplicated(cells$place), ]
    tiles <- cells[!is.na(cells$value) & !cells$is_aggregate, ]
    bars <- score_bars(cells[!is.na(cells$value) & cells$is_aggregate, ])
    # Beside many others, a number has no room for its zero.
    crowded <- sum(heads$width) > 24
    written <- function(value) if (crowded) sub("^0", "", sprintf("%.2f", value)) else sprintf("%.2f", value)
    text <- function(data, ...) ggplot2::geom_text(..., data = data, size = text_size(6))
    bar <- function(right, fill) {
        ggplot2::geom_rect(ggplot2::aes(xmin = .data$left, xmax = .data[[right]], ymin = .data$row - 0.4, ymax = .data$row + 0.4), bars, fill = fill)
    }
    ggplot2::ggplot(cells, ggplot2::aes(.data$place, .data$row)) +
        ggplot2::geom_blank() +
        ggplot2::geom_tile(fill = tiles$fill, data = tiles, width = 0.94, height = 0.88) +
        bar("right", grid_color) +
        bar("end", bars$fill) +
        text(tiles, ggplot2::aes(label = written(.data$value)), color = tiles$ink) +
        text(bars, ggplot2::aes(.data$text_at, label = written(.data$value)), hjust = as.numeric(bars$inside), color = bars$ink, fontface = "bold") +
        text(cells[is.na(cells$value), ], label = "-", color = soft_color) +
        ggplot2::facet_grid(cols = ggplot2::vars(.data$family), scales = "free_x", space = "free_x", labeller = ggplot2::as_labeller(family_titles(heads))) +
        ggplot2::scale_x_continuous(NULL, breaks = heads$place, labels = score_titles(heads), position = "top", expand = c(0, 0)) +
        ggplot2::scale_y_reverse(NULL, breaks = unique(cells$row), labels = unique(cells$embedding), expand = c(0, 0.1)) +
        ggplot2::coord_cartesian(clip = "off") +
        theme_plain() +
        ggplot2::theme(
            axis.text.x.top = ggplot2::element_text(angle = 90, hjust = 0, vjust = 0.5), strip.placement = "outside",
            strip.text.x = ggplot2::element_text(vjust = 1), axis.ticks.length.x = grid::unit(1, "mm")
        )
}

# One row per embedding and score: where it is, and how it looks.
score_cells <- function(scores, call) {
    needed <- c("family", "score", "title", "is_aggregate")
    has_columns(scores, needed, "scores", call)
    embeddings <- setdiff(names(scores), needed)
    if (length(embeddings) == 0 || !all(vapply(scores[embeddings], is.numeric, NA))) {
        abort_tutti("argument", "`scores` must have a column of numbers per embedding beside family, score, title and is_aggregate.", call)
    }
    unknown <- setdiff(scores$family, names(score_families))
    if (length(unknown) > 0) {
        abort_tutti("argument", sprintf("`scores` has a family `%s`; families are: %s.", unknown[[1]], paste(names(score_families), collapse = ", ")), call)
    }
    values <- as.matrix(as.data.frame(scores)[embeddings])
    total <- match("total", scores$score)
    embeddings <- embeddings[order(if (is.na(total)) rep(0, length(embeddings)) else -values[total, ])]
    width <- ifelse(scores$is_aggregate, 2.2, 1)
    runs <- rle(as.character(scores$family))
    column <- data.frame(
        family = factor(sprintf("%d %s", rep(seq_along(runs$lengths), runs$lengths), scores$family), sprintf("%d %s", seq_along(runs$values), runs$values)),
        name = as.character(scores$family), title = sub("^= ", "", scores$title), is_aggregate = scores$is_aggregate, width = width,
        place = cumsum(width) - 0.5 * width
    )
    cells <- lapply(seq_along(embeddings), function(r) cbind(column, embedding = embeddings[[r]], row = r, value = values[, embeddings[[r]]]))
    cells <- do.call(rbind, cells)
    cells$fill <- score_fill(cells)
    cells$ink <- ink_on(cells$fill)
    cells
}

# Where bars end, and their numbers: within the bar if there is room.
score_bars <- function(bars) {
    bars$left <- bars$place - 0.5 * bars$width + 0.1
    bars$right <- bars$left + bars$width - 0.2
    bars$end <- bars$left + (bars$width - 0.2) * pmin(pmax(bars$value, 0), 1)
    bars$inside <- bars$value > 0.5
    bars$text_at <- ifelse(bars$inside, bars$end - 0.1, bars$end + 0.1)
    bars$ink <- ifelse(bars$inside, bars$ink, ink_color)
    bars
}

score_fill <- function(cells) {
    range_of <- function(f) stats::ave(cells$value, cells$place, FUN = function(v) if (all(is.na(v))) NA else f(v, na.rm = TRUE))
    low <- range_of(min)
    high <- range_of(max)
    at <- 0.5 + (cells$value - 0.5 * (low + high)) / pmax(high - low, score_spread)
    # The ends of the maps are too dark and too light to write on.
    color <- function(family, t) if (is.na(t)) missing_color else map_at(score_families[[family]]$map, t)
    unlist(Map(color, cells$name, 0.25 + 0.55 * at), use.names = FALSE)
}

# Names over the runs of columns of a family, in two lines where there is little room.
family_titles <- function(heads) {
    titles <- vapply(score_families[heads$name], function(f) f$title, "")
    narrow <- stats::ave(heads$width, heads$family, FUN = sum) < 0.45 * nchar(titles)
    stats::setNames(ifelse(narrow, sub(" ", "\n", titles), titles), heads$family)[levels(heads$family)]
}

score_titles <- function(heads) {
    as.expression(Map(function(title, bold) if (bold) bquote(bold(.(title))) else title, heads$title, heads$is_aggregate))
}

# ---- Topology --------------------------------------------------------------------------------------------------------------------------

dimension_name <- function(dimension) factor(paste0("H", dimension), paste0("H", sort(unique(dimension))))

topology_part <- function(topology, part, columns, call) {
    if (!is.list(topology) || is.null(topology[[part]])) {
        abort_tutti("argument", sprintf("`topology` must be a list with a data frame `%s`.", part), call)
    }
    has_columns(topology[[part]], columns, sprintf("topology$%s", part), call)
    topology[[part]]
}

#' Draw the holes of an embedding
#'
#' `PlotPersistence`: birth and death of the classes of each dimension (H0 components, H1 loops, H2 cavities); the further from the diagonal, the longer a class
#' lives, and those that never die lie on the line at the top. `PlotBetti`: how many are alive at each length.
#'
#' @param topology What [EmbeddingTopology()] returns, or another list with the data frames `diagram` (dimension, birth, death) and `curves` (dimension, length, betti).
#' @return A ggplot.
#' @examplesIf requireNamespace("ggplot2", quietly = TRUE)
#' turn <- seq(0, 2 * pi, length.out = 60)
#' topology <- EmbeddingTopology(cbind(cos(turn), sin(turn))[-60, ])
#' PlotPersistence(topology)
#' PlotBetti(topology)
#' @family figures
#' @export
PlotPersistence <- function(topology) {
    needs_package("ggplot2")
    diagram <- topology_part(topology, "diagram", c("dimension", "birth", "death"), rlang::current_env())
    finite <- c(diagram$birth, diagram$death)
    last <- max(0, finite[is.finite(finite)])
    last <- if (last > 0) last else 1
    never <- 1.08 * last
    data <- data.frame(dimension = dimension_name(diagram$dimension), birth = diagram$birth, death = pmin(diagram$death, never))
    immortal <- if (any(is.infinite(diagram$death))) {
        blank <- ggplot2::element_blank()
        list(
            ggplot2::geom_hline(yintercept = never, color = soft_color, linewidth = 0.3),
            ggplot2::scale_y_continuous(sec.axis = ggplot2::dup_axis(name = NULL, breaks = never, labels = "never")),
            ggplot2::theme(axis.line.y.right = blank, axis.text.y.right = ggplot2::element_text(color = soft_color))
        )
    }
    ggplot2::ggplot(data, ggplot2::aes(.data$birth, .data$death)) +
        theme_tutti() +
        ggplot2::geom_abline(color = soft_color, linewidth = 0.3) +
        immortal +
        ggplot2::geom_point(ggplot2::aes(color = .data$dimension), alpha = 0.8, size = 1.2) +
        scale_color_tutti(name = NULL, guide = ggplot2::guide_legend(override.aes = list(size = 2, alpha = 1))) +
        ggplot2::coord_fixed(xlim = c(0, 1.12 * last), ylim = c(0, 1.12 * last), expand = FALSE, clip = "off")
}

#' @rdname PlotPersistence
#' @export
PlotBetti <- function(topology) {
    needs_package("ggplot2")
    curves <- topology_part(topology, "curves", c("dimension", "length", "betti"), rlang::current_env())
    data <- data.frame(dimension = dimension_name(curves$dimension), length = curves$length, betti = curves$betti)
    ggplot2::ggplot(data, ggplot2::aes(.data$length, .data$betti)) +
        ggplot2::geom_step(color = tutti_colors(1), linewidth = 0.5) +
        ggplot2::facet_wrap("dimension", scales = "free_y") +
        ggplot2::scale_y_continuous("Betti number", breaks = whole_breaks, limits = function(l) c(0, max(l, 1))) +
        theme_tutti()
}

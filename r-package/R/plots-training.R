# What a model learned, and how.

# Epochs up to which each is a point on its curve.
marked_epochs <- 40

#' Draw the history of a training
#'
#' Loss, its terms (unweighted, where there are several) and learning rate by epoch.
#'
#' @param object What [TrainingHistory()] takes, or what it returns.
#' @param reduction Name of the reduction.
#' @return A ggplot.
#' @examplesIf requireNamespace("ggplot2", quietly = TRUE)
#' pbmc <- RunConcord(
#'     SeuratObject::pbmc_small, group.by = "groups", n_epochs = 2, latent_dim = 10,
#'     verbose = FALSE
#' )
#' PlotHistory(pbmc)
#' @family figures
#' @export
PlotHistory <- function(object, reduction = NULL) {
    needs_package("ggplot2")
    history <- if (is.data.frame(object)) object else TrainingHistory(object, reduction)
    has_columns(history, c("epoch", "loss", "learning_rate"), "object", rlang::current_env())
    data <- history_curves(history)
    losses <- unique(data$curve[data$panel != "Learning rate"])
    colors <- c(stats::setNames(tutti_colors(length(losses)), losses), rate = ink_color)
    plot <- ggplot2::ggplot(data, ggplot2::aes(.data$epoch, .data$value, color = .data$curve)) +
        ggplot2::geom_line(linewidth = 0.5, na.rm = TRUE) +
        ggplot2::facet_wrap("panel", scales = "free_y") +
        ggplot2::scale_colour_manual(NULL, values = colors, breaks = losses, guide = if (length(losses) > 1) "legend" else "none") +
        ggplot2::scale_x_continuous("epoch", breaks = whole_breaks) +
        ggplot2::labs(y = NULL) +
        theme_tutti()
    if (nrow(history) > marked_epochs) plot else plot + ggplot2::geom_point(size = 1.1, na.rm = TRUE)
}

# One row per epoch and curve: panel, curve, epoch, value.
history_curves <- function(history) {
    terms <- setdiff(names(history), c("epoch", "loss", "validation_loss", "learning_rate"))
    # A single term is the loss itself.
    terms <- if (length(terms) > 1) terms
    columns <- c(training = "loss", validation = "validation_loss", stats::setNames(terms, terms), rate = "learning_rate")
    columns <- columns[vapply(columns, function(c) any(is.finite(history[[c]])), NA)]
    panel <- ifelse(columns %in% terms, "Its terms, unweighted", ifelse(columns == "learning_rate", "Learning rate", "Loss"))
    parts <- Map(function(column, curve, panel) data.frame(panel, curve, epoch = history$epoch, value = history[[column]]), columns, names(columns), panel)
    data <- do.call(rbind, unname(parts))
    data$panel <- factor(data$panel, unique(panel))
    data
}

# Rows and columns up to which a heatmap is named.
named_rows <- 60
named_columns <- 40

#' Draw attributions
#'
#' The features that matter most for each latent dimension, as a heatmap.
#'
#' @param attribution Matrix of features x latent dimensions, as [GeneAttribution()] returns.
#' @param n.features Features to take of each dimension: those of the largest absolute attribution.
#' @param dims Dimensions to draw, by number or name. Default: all.
#' @return A ggplot. Features stand with the dimension for which they matter most.
#' @examplesIf requireNamespace("ggplot2", quietly = TRUE)
#' pbmc <- RunConcord(
#'     SeuratObject::pbmc_small, group.by = "groups", n_epochs = 2, latent_dim = 10,
#'     verbose = FALSE
#' )
#' PlotAttribution(GeneAttribution(pbmc), n.features = 2)
#' @family figures
#' @export
PlotAttribution <- function(attribution, n.features = 5, dims = NULL) {
    needs_package("ggplot2")
    values <- attribution_matrix(attribution, dims, rlang::current_env())
    chosen <- leading_features(values, check_count(n.features))
    data <- data.frame(
        feature = factor(rownames(values)[chosen], rev(rownames(values)[chosen])),
        dimension = factor(rep(colnames(values), each = length(chosen)), colnames(values)),
        value = as.vector(values[chosen, ])
    )
    # Signs have a middle; sizes have none.
    map <- if (any(values < 0, na.rm = TRUE)) "diverging" else "viridis"
    names_of <- function(names, most) if (length(names) > most) NULL else ggplot2::waiver()
    ggplot2::ggplot(data, ggplot2::aes(.data$dimension, .data$feature, fill = .data$value)) +
        ggplot2::geom_tile() +
        scale_fill_tutti(map, name = "attribution") +
        ggplot2::scale_x_discrete(if (ncol(values) > named_columns) "latent dimensions", labels = names_of(colnames(values), named_columns), expand = c(0, 0)) +
        ggplot2::scale_y_discrete(if (length(chosen) > named_rows) "features", labels = names_of(chosen, named_rows), expand = c(0, 0)) +
        theme_plain() +
        ggplot2::theme(axis.text.x = ggplot2::element_text(angle = 90, hjust = 1, vjust = 0.5), axis.text.y = ggplot2::element_text(face = "italic"))
}

attribution_matrix <- function(attribution, dims, call) {
    if (!is.matrix(attribution) || !is.numeric(attribution) || is.null(rownames(attribution)) || length(attribution) == 0) {
        abort_tutti("argument", "`attribution` must be a matrix of numbers with the names of features as row names, one column per dimension.", call)
    }
    if (is.null(colnames(attribution))) {
        colnames(attribution) <- paste("dimension", seq_len(ncol(attribution)))
    }
    known <- if (is.character(dims)) colnames(attribution) else seq_len(ncol(attribution))
    unknown <- setdiff(dims, known)
    if (length(unknown) > 0) {
        abort_tutti("argument", sprintf("`attribution` has no dimension %s in `dims`; it has %d.", unknown[[1]], ncol(attribution)), call)
    }
    if (is.null(dims)) attribution else attribution[, dims, drop = FALSE]
}

# Rows with the `n` largest absolute values of any column, in the order of the columns for which they are largest.
leading_features <- function(values, n) {
    size <- replace(abs(values), is.na(values), 0)
    leading <- unique(as.vector(apply(size, 2, function(column) utils::head(order(-column), n))))
    most <- max.col(size[leading, , drop = FALSE], ties.method = "first")
    leading[order(most, -size[cbind(leading, most)])]
}

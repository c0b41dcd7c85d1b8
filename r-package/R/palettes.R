# Colours of the figures. They are those of the crate tutti-figures, and a test of the workspace holds the two equal.

# Okabe and Ito's, then each the furthest from all before it, as common and red-green deficient eyes see it.
categorical_colors <- c(
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#660022", "#000099", "#7700FF", "#555500",
    "#22FF33", "#AA2277", "#8877FF", "#77CC88", "#440066", "#DD11CC", "#5533AA", "#FF4466", "#00EEFF", "#995544",
    "#1100DD", "#005555", "#CCDD88", "#FF77DD", "#771177", "#443355", "#EE99BB", "#665588", "#88DD33", "#663311",
    "#996688", "#778833", "#00CC55", "#BBBBFF", "#88AA88", "#3388DD", "#5566EE", "#AA44AA", "#992244", "#AA9900"
)

# What has no category or value.
missing_color <- c("#D0D0D0")

# Points of the map of that name by Smith and van der Walt (CC0).
viridis_map <- c("#440154", "#472D7B", "#3B528B", "#2C728E", "#21918C", "#28AE80", "#5EC962", "#ADDC30", "#FDE725")

# These two include color specifications and designs developed by Cynthia Brewer (https://colorbrewer.org).
diverging_map <- c("#2166AC", "#67A9CF", "#D1E5F0", "#F7F7F7", "#FDDBC7", "#EF8A62", "#B2182B")
blues_map <- c("#F7FBFF", "#C6DBEF", "#6BAED6", "#2171B5", "#08306B")

ink_color <- c("#222222")
soft_color <- c("#787878")
grid_color <- c("#E6E6E6")

#' Colours of categories
#'
#' Forty colours that stay distinct, the first six also in print and for the colour-blind (Okabe and Ito 2008). They are those of the figures that the
#' command line draws.
#'
#' @param n Number of categories; from the 41st on the colours come again.
#' @return `n` colours as `"#RRGGBB"`.
#' @examples
#' tutti_colors(3)
#' @family figures
#' @export
tutti_colors <- function(n) {
    check_count(n, least = 0)
    categorical_colors[(seq_len(n) - 1) %% length(categorical_colors) + 1]
}

# Colours at `t`, 0 to 1, of a continuous map; outside those of the nearest end.
map_at <- function(map, t) {
    grDevices::rgb(floor(grDevices::colorRamp(map)(pmin(pmax(t, 0), 1)) + 0.5), maxColorValue = 255)
}

# Black or white, whichever can be read on a colour. A grey of lightness 56 (CIE) is as light as a 0.62 of OKLab.
ink_on <- function(colors) {
    lab <- grDevices::convertColor(t(grDevices::col2rgb(colors)) / 255, from = "sRGB", to = "Lab")
    ifelse(lab[, 1] < 56, "#FFFFFF", ink_color)
}

#' Colour scales of the figures
#'
#' @param palette `"categorical"`, or a map of numbers: `"viridis"`, `"blues"` (shares and counts), or `"diverging"`, whose middle is 0.
#' @param ... Further arguments of [ggplot2::discrete_scale()] or [ggplot2::scale_color_gradientn()], such as `name`.
#' @return A scale to add to a ggplot. What has no value is light grey.
#' @examplesIf requireNamespace("ggplot2", quietly = TRUE)
#' library(ggplot2)
#' ggplot(mtcars, aes(wt, mpg, color = factor(cyl))) +
#'     geom_point() + scale_color_tutti(name = "cylinders") + theme_tutti()
#' @family figures
#' @export
scale_color_tutti <- function(palette = "categorical", ...) {
    color_scale("colour", palette, ..., call = rlang::current_env())
}

#' @rdname scale_color_tutti
#' @export
scale_colour_tutti <- scale_color_tutti

#' @rdname scale_color_tutti
#' @export
scale_fill_tutti <- function(palette = "categorical", ...) {
    color_scale("fill", palette, ..., call = rlang::current_env())
}

color_scale <- function(aesthetic, palette, ..., call) {
    needs_package("ggplot2", call)
    maps <- list(viridis = viridis_map, diverging = diverging_map, blues = blues_map)
    if (identical(palette, "categorical")) {
        return(categorical_scale(aesthetic, ...))
    }
    if (!is.character(palette) || length(palette) != 1 || !palette %in% names(maps)) {
        message <- sprintf("there is no palette %s; there are: categorical, %s.", said(palette), paste(names(maps), collapse = ", "))
        abort_tutti("argument", message, call)
    }
    # ggplot2 mixes neighbouring colours in another space; between so many there is nothing left to mix.
    given <- list(aesthetics = aesthetic, colours = map_at(maps[[palette]], seq(0, 1, length.out = 257)), na.value = missing_color)
    if (palette == "diverging") {
        given$limits <- function(limits) c(-1, 1) * max(abs(limits))
    }
    do.call(ggplot2::scale_colour_gradientn, overridden(given, list(...)))
}

categorical_scale <- function(aesthetic, ...) {
    given <- list(aesthetics = aesthetic, palette = tutti_colors, na.value = missing_color)
    if (utils::packageVersion("ggplot2") < "3.5.0") {
        given$scale_name <- "tutti"
    }
    do.call(ggplot2::discrete_scale, overridden(given, list(...)))
}

# Unlike modifyList() this keeps a NULL, which means no name or no breaks to a scale.
overridden <- function(arguments, by) {
    arguments[names(by)] <- by
    arguments
}

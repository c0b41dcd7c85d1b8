skip_if_not_installed("ggplot2", "3.4.0")

pbmc <- SeuratObject::pbmc_small
draw <- function(plot) {
    # Measures of text need a device; this one writes no file.
    grDevices::pdf(NULL)
    on.exit(grDevices::dev.off())
    ggplot2::ggplotGrob(plot)
}
layers_of_geom <- function(plot, geom) which(vapply(plot$layers, function(l) inherits(l$geom, geom), NA))
drawn <- function(plot, geom, which = 1) ggplot2::layer_data(plot, layers_of_geom(plot, geom)[[which]])
plane <- function(n) cbind(UMAP_1 = seq_len(n), UMAP_2 = (seq_len(n) * 7) %% 5)

# ---- Palettes --------------------------------------------------------------------------------------------------------------------------

test_that("forty colours are distinct, then they come again", {
    expect_length(unique(tutti_colors(40)), 40)
    expect_false("#D0D0D0" %in% tutti_colors(40))
    expect_identical(tutti_colors(43)[41:43], tutti_colors(3))
    expect_identical(tutti_colors(0), character())
    expect_error(tutti_colors(-1), class = "tutti_error_argument")
})

test_that("a map goes straight from colour to colour", {
    # Half way between the first two points: (68 + 71) / 2, (1 + 45) / 2, (84 + 123) / 2.
    expect_identical(tutti:::map_at(tutti:::viridis_map, c(0, 1 / 16, 1, 7)), c("#440154", "#461768", "#FDE725", "#FDE725"))
    expect_identical(tutti:::ink_on(c("#000000", "#FFFFFF", "#08306B", "#FDE725")), c("#FFFFFF", "#222222", "#FFFFFF", "#222222"))
})

test_that("scales colour categories and numbers, and keep what the caller gives", {
    data <- data.frame(x = 1:3, y = 1:3, k = c("a", "b", NA), v = c(-4, 0, 2))
    base <- ggplot2::ggplot(data, ggplot2::aes(x, y))
    by_kind <- base + ggplot2::geom_point(ggplot2::aes(color = k)) + scale_color_tutti()
    expect_identical(ggplot2::layer_data(by_kind)$colour, c(tutti_colors(2), "#D0D0D0"))
    # The middle of the diverging map is 0, though the data run from -4 to 2.
    by_value <- base + ggplot2::geom_tile(ggplot2::aes(fill = v)) + scale_fill_tutti("diverging", name = NULL)
    expect_identical(ggplot2::layer_data(by_value)$fill[1:2], c("#2166AC", "#F7F7F7"))
    expect_null(by_value$scales$get_scales("fill")$name)
    expect_error(scale_fill_tutti("rainbow"), "categorical, viridis", class = "tutti_error_argument")
})

test_that("a missing package is named", {
    expect_error(tutti:::needs_package("no.such.package"), "no.such.package", class = "tutti_error_package")
})

# ---- Embeddings ------------------------------------------------------------------------------------------------------------------------

test_that("cells of a Seurat object are coloured by their column, and all are drawn", {
    points <- drawn(PlotEmbedding(pbmc, reduction = "tsne", color.by = "letter.idents"), "GeomPoint")
    expect_identical(as.vector(table(points$colour)[tutti_colors(2)]), as.vector(table(pbmc$letter.idents)))
    places <- SeuratObject::Embeddings(pbmc, "tsne")
    expect_equal(sort(points$x), sort(unname(places[, 1])))
    # Each place has the colour of the cell that is there.
    at <- match(points$x, places[, 1])
    expect_identical(points$colour, tutti_colors(2)[as.integer(factor(pbmc$letter.idents))[at]])
})

test_that("identities are the default of a Seurat object, and the last flat reduction", {
    plot <- PlotEmbedding(pbmc)
    expect_setequal(drawn(plot, "GeomPoint")$colour, tutti_colors(3))
    expect_identical(plot$labels$x, "tSNE 1")
})

test_that("a feature has a continuous scale, its largest values on top", {
    plot <- PlotEmbedding(pbmc, reduction = "pca", color.by = "LYZ", dims = c(2, 1))
    points <- drawn(plot, "GeomPoint")
    value <- SeuratObject::FetchData(pbmc, "LYZ")[[1]]
    expect_equal(plot$data$color, sort(value))
    expect_equal(points$x[[nrow(points)]], unname(SeuratObject::Embeddings(pbmc, "pca")[which.max(value), 2]))
})

test_that("missing categories are grey, beneath, and in the legend", {
    kind <- rep(c("b", NA, "a"), 10)
    plot <- PlotEmbedding(plane(30), color.by = kind)
    points <- drawn(plot, "GeomPoint")
    expect_identical(points$colour[1:10], rep("#D0D0D0", 10))
    expect_identical(as.vector(table(points$colour)[tutti_colors(2)]), c(10L, 10L))
    expect_identical(ggplot2::ggplot_build(plot)$plot$scales$get_scales("colour")$get_labels(), c("a", "b", "missing"))
})

test_that("missing and infinite numbers are grey with an entry of their own", {
    plot <- PlotEmbedding(plane(6), color.by = c(1, NA, 3, Inf, 5, 2))
    grey <- Filter(function(d) all(d$colour == "#D0D0D0"), lapply(1:2, function(i) drawn(plot, "GeomPoint", i)))
    expect_length(grey, 1)
    expect_setequal(grey[[1]]$x, c(2, 4))
    expect_identical(plot$scales$get_scales("shape")$palette(1)[["missing"]], 16)
})

test_that("the order is random but the same for a seed, and R's random numbers go on", {
    kind <- rep(c("a", "b"), 50)
    set.seed(5)
    expected <- runif(2)
    set.seed(5)
    first <- runif(1)
    orders <- lapply(c(1, 1, 2), function(seed) drawn(PlotEmbedding(plane(100), color.by = kind, seed = seed), "GeomPoint")$x)
    expect_identical(c(first, runif(1)), expected)
    expect_identical(orders[[1]], orders[[2]])
    expect_false(identical(orders[[1]], orders[[3]]))
    expect_setequal(orders[[1]], 1:100)
    expect_equal(drawn(PlotEmbedding(plane(100), color.by = kind, shuffle = FALSE), "GeomPoint")$x, 1:100)
})

test_that("panels have their own cells in colour and all cells beneath", {
    plot <- PlotEmbedding(pbmc, reduction = "tsne", split.by = "groups")
    beneath <- drawn(plot, "GeomPoint", 1)
    own <- drawn(plot, "GeomPoint", 2)
    expect_identical(as.vector(table(beneath$PANEL)), c(80L, 80L))
    expect_identical(as.vector(table(own$PANEL)), as.vector(table(pbmc$groups)))
})

test_that("highlighted levels keep their colours", {
    plot <- PlotEmbedding(plane(9), color.by = rep(c("a", "b", "c"), 3), highlight = "c")
    expect_identical(nrow(drawn(plot, "GeomPoint", 1)), 9L)
    expect_identical(drawn(plot, "GeomPoint", 2)$colour, rep(tutti_colors(3)[[3]], 3))
})

test_that("names stand at the medians of their cells, missing ones have none", {
    kind <- rep(c("a", "b", NA), each = 5)
    plot <- PlotEmbedding(plane(15), color.by = kind, label = TRUE)
    labels <- drawn(plot, "GeomText", 2)
    expect_identical(as.character(labels$label), c("a", "b"))
    expect_equal(labels$x, c(3, 8))
})

test_that("overlapping names are pushed apart", {
    labels <- data.frame(x = c(0, 0.1, 9), y = c(0, 0, 0), color = c("one", "two", "three"))
    pushed <- tutti:::pushed_apart(labels, 1)
    expect_gte(abs(diff(pushed$y[1:2])), 1)
    expect_equal(pushed$y[[3]], 0)
})

test_that("values of a matrix are joined by name", {
    x <- plane(4)
    rownames(x) <- letters[1:4]
    points <- drawn(PlotEmbedding(x, color.by = c(d = "p", c = "p", b = "q", a = "q")), "GeomPoint")
    expect_identical(points$colour[order(points$x)], tutti_colors(2)[c(2, 2, 1, 1)])
})

test_that("SingleCellExperiment objects are drawn by column and by gene", {
    skip_if_not_installed("SingleCellExperiment")
    counts <- matrix(c(0, 1, 2, 3, 4, 5), 2, dimnames = list(c("g1", "g2"), c("a", "b", "c")))
    object <- SingleCellExperiment::SingleCellExperiment(list(counts = counts), colData = data.frame(kind = c("x", "y", "x"), row.names = c("a", "b", "c")))
    SingleCellExperiment::reducedDim(object, "UMAP") <- plane(3)
    expect_identical(as.vector(table(drawn(PlotEmbedding(object, color.by = "kind"), "GeomPoint")$colour)[tutti_colors(2)]), c(2L, 1L))
    expect_equal(PlotEmbedding(object, color.by = "g2")$data$color, c(1, 3, 5))
})

test_that("points shrink with the number of cells and stay within limits", {
    sizes <- vapply(c(10, 2000, 1e7), tutti:::fitted_size, 0, n_panels = 1)
    expect_equal(sizes[c(1, 3)], 0.7 * c(3.5, 0.4))
    # Discs of that radius fill three tenths of a panel of 260 pixels.
    expect_equal(2000 * pi * (sizes[[2]] / 0.7)^2, 0.3 * 260^2)
})

test_that("what cannot be drawn is named", {
    expect_error(PlotEmbedding(pbmc, color.by = "nothing"), "letter.idents", class = "tutti_error_argument")
    expect_error(PlotEmbedding(pbmc, reduction = "umap"), "tsne", class = "tutti_error_argument")
    expect_error(PlotEmbedding(pbmc, reduction = "tsne", dims = c(1, 9)), "dims", class = "tutti_error_argument")
    expect_error(PlotEmbedding(pbmc, color.by = "LYZ", highlight = "A"), "highlight", class = "tutti_error_argument")
    expect_error(PlotEmbedding(pbmc, color.by = "letter.idents", highlight = "Z"), "A, B", class = "tutti_error_argument")
    expect_error(PlotEmbedding(plane(3), color.by = c("a", "b")), "2 values for 3", class = "tutti_error_data")
    expect_error(PlotEmbedding("x"), class = "tutti_error_argument")
    expect_error(PlotEmbedding(rbind(plane(2), NA)), "number 3", class = "tutti_error_value")
})

test_that("a theme and a scale can be added", {
    plot <- PlotEmbedding(plane(4), color.by = c("a", "b", "a", "b")) + ggplot2::theme_void()
    plot <- suppressMessages(plot + ggplot2::scale_colour_manual(values = c(a = "red", b = "blue")))
    expect_setequal(drawn(plot, "GeomPoint")$colour, c("red", "blue"))
    expect_s3_class(draw(plot), "gtable")
})

# ---- Labels ----------------------------------------------------------------------------------------------------------------------------

test_that("composition has the shares and numbers of cells, also of missing ones", {
    data <- data.frame(cluster = c("x", "x", "x", "x", "y", NA), batch = c("p", "p", "q", NA, "q", "p"))
    plot <- PlotComposition(data, "cluster", "batch")
    bars <- drawn(plot, "GeomBar")
    # Bars from bottom to top: missing, y, x.
    share <- tapply(bars$xmax - bars$xmin, list(as.integer(bars$y), bars$fill), sum, default = 0)
    colors <- c(tutti_colors(2), "#D0D0D0")
    expect_equal(unname(share[, colors]), rbind(c(1, 0, 0), c(0, 1, 0), c(0.5, 0.25, 0.25)))
    numbers <- drawn(plot, "GeomText")
    expect_identical(numbers$label[order(-numbers$y)], c("4", "1", "1"))
    expect_error(PlotComposition(data, "cluster", "lane"), "lane", class = "tutti_error_argument")
    expect_error(PlotComposition(1:3, "a", "b"), class = "tutti_error_argument")
})

test_that("composition reads the identities of a Seurat object", {
    numbers <- drawn(PlotComposition(pbmc, "ident", "groups"), "GeomText")
    expect_identical(numbers$label[order(-numbers$y)], as.character(table(SeuratObject::Idents(pbmc))))
})

test_that("a confusion matrix has the shares of rows and the numbers of cells", {
    truth <- c("a", "a", "a", "b", "b")
    predicted <- c("a", "a", "c", "b", NA)
    plot <- PlotConfusion(truth, predicted)
    cells <- plot$data
    expect_identical(levels(cells$predicted), c("a", "b", "c", "missing"))
    expect_equal(cells$share[cells$truth == "a"], c(2, 0, 1, 0) / 3)
    expect_equal(cells$share[cells$truth == "b"], c(0, 1, 0, 1) / 2)
    written <- drawn(plot, "GeomText")
    # x is the predicted class, y the true one from below.
    expect_identical(written[order(written$y, written$x), "label"], c(1L, 1L, 2L, 1L))
    tiles <- drawn(plot, "GeomTile")
    expect_identical(tiles$fill[tiles$x == 1 & tiles$y == 1], tutti:::blues_map[[1]])
})

test_that("confusion joins by name, drops numbers beside many classes, and refuses other lengths", {
    plot <- PlotConfusion(c(u = "a", v = "b"), c(v = "b", u = "a"))
    expect_equal(plot$data$n, c(1, 0, 0, 1))
    expect_length(layers_of_geom(PlotConfusion(1:13, 1:13), "GeomText"), 0)
    expect_error(PlotConfusion(c("a", "b"), "a"), class = "tutti_error_data")
    expect_error(PlotConfusion(character(), character()), class = "tutti_error_data")
})

test_that("a river keeps every cell: bars and flows are as high as they have cells", {
    from <- c("a", "a", "a", "b", NA)
    to <- c("x", "x", "y", "y", "y")
    plot <- PlotRiver(from, to, names = c("before", "after"))
    bars <- drawn(plot, "GeomRect")
    high <- bars$ymax - bars$ymin
    left <- abs(high[1:3])
    expect_equal(left / sum(left), c(3, 1, 1) / 5)
    expect_equal(abs(high[4:5]) / sum(abs(high[4:5])), c(2, 3) / 5)
    expect_identical(bars$fill, c(tutti_colors(2), "#D0D0D0", tutti_colors(2)))
    flows <- drawn(plot, "GeomPolygon")
    ends <- tapply(abs(flows$y), flows$group, function(y) abs(y[[1]] - y[[length(y)]]))
    # Groups are in the order of their names: a to x, a to y, b to y, missing to y.
    expect_equal(as.vector(ends) / sum(left), c(2, 1, 1, 1) / 5)
    expect_identical(ggplot2::ggplot_build(plot)$layout$panel_params[[1]]$x$get_labels(), c("before", "after"))
})

test_that("a level has the same colour in every part of the cells and in every column", {
    three <- factor(c("a", "b", "c", "c"), levels = c("a", "b", "c"))
    where <- cbind(1:4, 1:4)
    points <- drawn(PlotEmbedding(where[3:4, ], color.by = three[3:4]), "GeomPoint")
    expect_identical(points$colour, rep(tutti_colors(3)[[3]], 2))
    query <- function(levels) PlotEmbedding(where, color.by = c("c", "c", NA, "b"), levels = levels)
    expect_setequal(drawn(query(levels(three)), "GeomPoint")$colour, c(tutti_colors(3)[2:3], "#D0D0D0"))
    expect_error(query(c("a", "b")), "lacks \"c\"", class = "tutti_error_argument")
    shares <- PlotComposition(data.frame(kind = three, part = factor("x"))[2:4, ], "part", "kind")
    expect_setequal(drawn(shares, "GeomBar")$fill, tutti_colors(3)[2:3])

    bars <- drawn(PlotRiver(three, c("b", "b", "c", NA)), "GeomRect")
    expect_identical(bars$fill, c(tutti_colors(3), tutti_colors(3)[2:3], "#D0D0D0"))
    others <- drawn(PlotRiver(three, c("x", "x", "y", "y")), "GeomRect")
    expect_identical(others$fill, c(tutti_colors(3), tutti_colors(2)))
})

test_that("flows leave their bar without gaps and end in the other without gaps", {
    columns <- lapply(list(c(1, 1, 2, 2, 3, 1), c(2, 1, 2, 3, 3, 3)), function(x) tutti:::with_missing(x))
    bars <- rbind(tutti:::river_bars(columns[[1]], 1), tutti:::river_bars(columns[[2]], 2))
    flows <- tutti:::river_flows(columns[[1]], columns[[2]], bars, 2)
    at_end <- function(flow) flow$y[flow$x == max(flow$x)]
    ends <- t(vapply(split(flows, flows$flow), function(f) range(at_end(f)), c(0, 0)))
    into <- sub(".* to ", "", rownames(ends))
    for (level in levels(columns[[2]])) {
        here <- ends[into == level, , drop = FALSE]
        here <- here[order(here[, 1]), , drop = FALSE]
        bar <- bars[bars$column == 2 & bars$level == level, ]
        expect_equal(here[, 1], c(bar$top, here[-nrow(here), 2]), ignore_attr = TRUE)
        expect_equal(here[nrow(here), 2], bar$bottom, ignore_attr = TRUE)
    }
})

test_that("rivers take columns of a table, and name what is wrong", {
    expect_s3_class(draw(PlotRiver(pbmc[[c("letter.idents", "groups", "RNA_snn_res.1")]])), "gtable")
    expect_error(PlotRiver(c("a", "b")), "two columns", class = "tutti_error_argument")
    expect_error(PlotRiver(c("a", "b"), c("a")), class = "tutti_error_data")
    expect_error(PlotRiver(c("a", "b"), c("a", "b"), names = "one"), class = "tutti_error_argument")
    # As in the Rust figure: the first has room; three at the lower edge have not.
    expect_equal(tutti:::names_apart(c(0.2, 0.9, 0.92, 0.99), 0.14), c(0.2, 0.65, 0.79, 0.93))
})

# ---- Training --------------------------------------------------------------------------------------------------------------------------

test_that("a history has a curve per loss, term and learning rate", {
    history <- data.frame(epoch = 1:3, loss = c(3, 2, 1), validation_loss = c(4, NaN, 2), learning_rate = 0.01, nt_xent = c(2, 1, 0.5), mse = 1)
    plot <- PlotHistory(history)
    expect_identical(levels(plot$data$panel), c("Loss", "Its terms, unweighted", "Learning rate"))
    curve <- function(name) plot$data$value[plot$data$curve == name]
    expect_identical(curve("training"), history$loss)
    expect_identical(curve("mse"), history$mse)
    expect_identical(curve("rate"), history$learning_rate)
    expect_s3_class(draw(plot), "gtable")
    # A single term is the loss, and a column of NaN is no validation.
    alone <- PlotHistory(transform(history[c("epoch", "loss", "learning_rate", "nt_xent")], validation_loss = NaN))
    expect_setequal(alone$data$curve, c("training", "rate"))
    expect_error(PlotHistory(history["epoch"]), "loss", class = "tutti_error_argument")
    expect_error(PlotHistory(history[0, ]), class = "tutti_error_data")
    expect_error(PlotHistory(pbmc), "RunConcord", class = "tutti_error_argument")
})

test_that("a trained object shows its own history", {
    trained <- RunConcord(pbmc, group.by = "groups", n_epochs = 2, latent_dim = 10, verbose = FALSE)
    plot <- PlotHistory(trained)
    expect_equal(plot$data$value[plot$data$curve == "training"], TrainingHistory(trained)$loss)
})

test_that("what the package computes can be drawn", {
    trained <- RunConcord(pbmc, group.by = "groups", n_epochs = 2, latent_dim = 10, verbose = FALSE)
    scores <- ScoreIntegration(trained, label.by = "letter.idents", group.by = "groups")
    expect_identical(unique(PlotScores(scores)$data$embedding), names(scores)[-(1:4)])
    attribution <- GeneAttribution(trained)
    expect_equal(range(PlotAttribution(attribution, n.features = nrow(attribution))$data$value), range(attribution))
    turn <- seq(0, 2 * pi, length.out = 20)[-20]
    topology <- EmbeddingTopology(cbind(cos(turn), sin(turn)), max.dim = 1)
    expect_identical(nrow(drawn(PlotPersistence(topology), "GeomPoint")), nrow(topology$diagram))
    expect_equal(drawn(PlotBetti(topology), "GeomStep")$y, topology$curves$betti)
})

test_that("attributions show the leading features of each dimension", {
    values <- rbind(a = c(9, 0), b = c(-8, 1), c = c(0, -7), d = c(1, 6), e = c(2, 2))
    colnames(values) <- c("D1", "D2")
    plot <- PlotAttribution(values, n.features = 2)
    # From the top down: a and b lead the first dimension, c and d the second.
    expect_identical(rev(levels(plot$data$feature)), c("a", "b", "c", "d"))
    expect_equal(plot$data$value, c(9, -8, 0, 1, 0, 1, -7, 6))
    tiles <- drawn(plot, "GeomTile")
    expect_identical(tiles$fill[plot$data$value == 9], utils::tail(tutti:::diverging_map, 1))
    expect_identical(levels(PlotAttribution(abs(values), dims = "D2")$data$dimension), "D2")
    expect_error(PlotAttribution(values, dims = 3), "dims", class = "tutti_error_argument")
    expect_error(PlotAttribution(unname(values)), "row names", class = "tutti_error_argument")
})

# ---- Evaluation ------------------------------------------------------------------------------------------------------------------------

scores <- data.frame(
    family = c("biology", "biology", "batch", "total"), score = c("clisi", "bio_conservation", "ilisi", "total"), title = c("cLISI", "= biology kept", "iLISI", "total"),
    is_aggregate = c(FALSE, TRUE, FALSE, TRUE), pca = c(0.90, 0.8, NA, 0.5), concord = c(0.91, 0.6, 0.4, 0.7)
)

test_that("scores are written, best total on top, and those missing are a dash", {
    plot <- PlotScores(scores)
    expect_identical(unique(plot$data$embedding), c("concord", "pca"))
    texts <- unlist(lapply(seq_along(layers_of_geom(plot, "GeomText")), function(i) as.character(drawn(plot, "GeomText", i)$label)))
    expect_setequal(texts, c("0.91", "0.40", "0.90", "0.60", "0.70", "0.80", "0.50", "-"))
    # The last layer of rectangles has the bars; their length is the score.
    bars <- drawn(plot, "GeomRect", 3)
    expect_equal((bars$xmax - bars$xmin) / 2, c(0.6, 0.7, 0.8, 0.5))
    expect_s3_class(draw(plot), "gtable")
})

test_that("nearly equal scores look nearly equal", {
    fills <- PlotScores(scores)$data
    fill <- function(score, embedding) fills$fill[fills$title == score & fills$embedding == embedding]
    apart <- function(a, b) sum(abs(grDevices::col2rgb(a) - grDevices::col2rgb(b)))
    expect_lt(apart(fill("cLISI", "pca"), fill("cLISI", "concord")), 0.25 * apart(fill("biology kept", "pca"), fill("biology kept", "concord")))
})

test_that("tables that are no scores are refused", {
    expect_error(PlotScores(scores[-1]), "family", class = "tutti_error_argument")
    expect_error(PlotScores(scores[1:4]), "column of numbers", class = "tutti_error_argument")
    expect_error(PlotScores(transform(scores, family = "other")), "biology, batch", class = "tutti_error_argument")
    expect_error(PlotScores(list()), class = "tutti_error_argument")
})

topology <- list(
    diagram = data.frame(dimension = c(0, 0, 1), birth = c(0, 0, 0.2), death = c(Inf, 0.3, 2)),
    curves = data.frame(dimension = rep(0:1, each = 3), length = rep(c(0, 0.5, 1.7), 2), betti = c(2, 1, 1, 0, 1, 0))
)

test_that("a persistence diagram has every class, the immortal ones above all others", {
    plot <- PlotPersistence(topology)
    points <- drawn(plot, "GeomPoint")
    expect_equal(points$y, c(2.16, 0.3, 2))
    expect_identical(points$colour, tutti_colors(2)[c(1, 1, 2)])
    expect_length(layers_of_geom(plot, "GeomHline"), 1)
    mortal <- PlotPersistence(list(diagram = topology$diagram[-1, ]))
    expect_length(layers_of_geom(mortal, "GeomHline"), 0)
})

test_that("Betti curves keep their value until the next length", {
    steps <- drawn(PlotBetti(topology), "GeomStep")
    expect_equal(steps$y, topology$curves$betti)
    expect_identical(as.integer(steps$PANEL), rep(1:2, each = 3))
    expect_error(PlotBetti(topology["diagram"]), "curves", class = "tutti_error_argument")
    expect_error(PlotPersistence(list(diagram = data.frame(birth = 1))), "dimension", class = "tutti_error_argument")
    expect_error(PlotPersistence(list(diagram = topology$diagram[0, ])), class = "tutti_error_data")
})

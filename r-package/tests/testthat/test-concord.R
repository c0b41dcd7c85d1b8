test_that("threads do not change a bit; the seed changes all", {
    expected <- embed()
    for (threads in 1:2) {
        expect_identical(embed(threads = threads), expected)
    }
    expect_identical(embed(seed.use = 42), expected)
    expect_gt(max(abs(embed(seed.use = 43) - expected)), 0.01)
})

test_that("the same for the model's bytes", {
    one <- run(counts_of(), groups_of(), threads = 1)
    two <- run(counts_of(), groups_of(), threads = 2)
    expect_identical(one$model$raw, two$model$raw)
    expect_identical(one$history, two$history)
})

test_that("planted clusters are kept and planted batches are gone", {
    object <- five_clusters()
    values <- layer_data(object[["RNA"]], "data")
    object <- run(object, "batch", n_epochs = 30, latent_dim = 16, batch_size = 64)
    pca <- stats::prcomp(t(as.matrix(values)))$x[, 1:10]
    label <- stats::setNames(as.character(object$cell_type), colnames(object))
    batch <- stats::setNames(as.character(object$batch), colnames(object))
    scores <- ScoreIntegration(
        list(pca = pca, concord = SeuratObject::Embeddings(object, "concord")), label.by = label, group.by = batch, metric = "cosine"
    )
    score <- function(name, of) scores[[of]][scores$score == name]
    expect_gt(score("total", "concord"), score("total", "pca") + 0.15)
    expect_gt(score("ilisi", "concord"), score("ilisi", "pca") + 0.3)
    expect_gt(score("nmi", "concord"), 0.95)
    # The best total comes first.
    expect_identical(names(scores)[5:6], c("concord", "pca"))
})

test_that("the object comes back with a reduction, its model and a log of the command", {
    object <- run(pbmc(), "groups", reduction.name = "sample.space", reduction.key = "SPACE_")
    reduction <- object[["sample.space"]]
    expect_s4_class(reduction, "DimReduc")
    expect_identical(colnames(SeuratObject::Embeddings(reduction)), paste0("SPACE_", 1:6))
    expect_identical(SeuratObject::Key(reduction), "SPACE_")
    expect_identical(SeuratObject::DefaultAssay(reduction), "RNA")
    expect_s3_class(GetModel(object), "tutti_model")
    expect_identical(nrow(TrainingHistory(object)), 2L)
    expect_true(any(grepl("RunConcord", SeuratObject::Command(object))))
    expect_identical(SeuratObject::Reductions(object), c("pca", "tsne", "sample.space"))
})

test_that("variable features are trained on, others where they are asked for", {
    features <- function(...) summary(GetModel(run(pbmc(), "groups", ...)))$features
    expect_identical(features(), SeuratObject::VariableFeatures(pbmc()))
    expect_identical(features(features = c("MS4A1", "CD79B", "LYZ")), c("MS4A1", "CD79B", "LYZ"))
    expect_length(features(n.features = 50), 50)
    expect_identical(features(n.features = 0), rownames(counts_of()))
    expect_identical(run(counts_of(), groups_of())$features, rownames(counts_of()))
    expect_snapshot({
        refusal(run(counts_of(), groups_of(), features = c("MS4A1", "GAPDH%d")))
        refusal(run(counts_of(), groups_of(), features = "GAPDH"))
        refusal(run(counts_of(), groups_of(), features = character()))
        refusal(run(counts_of(), groups_of(), features = "MS4A1", n.features = 20))
    })
})

test_that("a wrong setting is named, with the nearest of those there are", {
    # The list of settings grows with the method.
    shortened <- function(lines) sub("(the settings are: )batch_size, .*", "\\1batch_size, ...", lines)
    expect_snapshot(refusal(run(pbmc(), "groups", magic = 3)), transform = shortened)
    expect_snapshot({
        refusal(run(pbmc(), "groups", latnt_dim = 3))
        refusal(run(pbmc(), "groups", latent.dim = 3))
        refusal(run(pbmc(), "groups", hidden_dims = 3))
        refusal(run(pbmc(), "groups", temperature = "warm"))
        refusal(run(pbmc(), "groups", temperature = -1))
        refusal(run(pbmc(), "groups", temperature = NA))
        refusal(run(pbmc(), "groups", encoder_dims = "wide"))
        refusal(run(pbmc(), "groups", n.features = -1))
        refusal(run(pbmc(), "groups", preset = "soft-negative"))
        refusal(run(pbmc(), "groups", seed = 3))
        refusal(run(counts_of(), groups_of(), 3))
        refusal(run(pbmc(), "groups", dropout = 0, dropout = 0.1))
        refusal(run(pbmc(), "groups", threads = 0))
        refusal(run(pbmc(), "groups", seed.use = "a"))
    })
})

test_that("settings have the names, defaults and checks of training", {
    settings <- ConcordSettings()
    expect_identical(settings$latent_dim, 100)
    changed <- ConcordSettings(latent_dim = 30, encoder_dims = 64)
    expect_identical(changed[c("latent_dim", "encoder_dims")], list(latent_dim = 30, encoder_dims = 64))
    expect_identical(names(changed), names(settings))
    expect_false(identical(ConcordSettings("knn"), settings))
    expect_error(ConcordSettings(dropout = 2), class = "tutti_error_argument")
    # A NULL is a value, also beside settings that an argument implies.
    model <- GetModel(run(pbmc(), "groups", label.by = "letter.idents", clip_norm = NULL))
    expect_null(summary(model)$settings$clip_norm)
    expect_true(summary(model)$settings$use_classifier)
})

test_that("batches of a single cell, or a single batch, train with a warning", {
    batch <- replace(groups_of(), TRUE, "many")
    expect_warning(out <- embed(group.by = replace(batch, 1, "one")), "fewer than 4 cells give no mini-batch of their own: one (1)", fixed = TRUE, class = "tutti_warning")
    expect_warning(embed(group.by = batch), "`group.by` has a single batch", class = "tutti_warning")
    expect_true(all(is.finite(out)))
    expect_silent(embed(group.by = NULL))
})

test_that("levels of a factor that no cell has are no batches", {
    batch <- factor(groups_of(), levels = c("g1", "unused", "g2"))
    names(batch) <- colnames(counts_of())
    result <- run(counts_of(), batch, n.features = 0)
    expect_identical(result$embedding, embed())
    expect_identical(summary(GetModel(result))$batches, c("g1", "g2"))
})

test_that("labels train a classifier, whose classes come back", {
    object <- five_clusters()
    truth <- as.character(object$cell_type)
    object$known <- replace(truth, seq(1, 200, 4), NA)
    object <- run(object, "batch", label.by = "known", n_epochs = 30, latent_dim = 16, batch_size = 64)
    hidden <- is.na(object$known)
    expect_gt(mean(as.character(object$concord_class)[hidden] == truth[hidden]), 0.95)
    expect_true(all(object$concord_class_probability > 0.2 & object$concord_class_probability <= 1))
    expect_snapshot({
        refusal(run(counts_of(), groups_of(), label.by = rep("a", 80)))
        refusal(run(counts_of(), groups_of(), label.by = rep(NA, 80)))
    })
})

test_that("mini-batches follow the neighbourhoods of a given reduction", {
    graph <- SeuratObject::Embeddings(pbmc(), "pca")
    by_name <- run(pbmc(), "groups", preset = "knn", graph.reduction = "pca", n.features = 0)
    of_matrix <- function(graph) run(counts_of(), groups_of(), preset = "knn", graph = graph, n.features = 0)$embedding
    expect_identical(coordinates(by_name), unname(of_matrix(graph)))
    expect_identical(of_matrix(graph[80:1, ]), of_matrix(graph))
    expect_false(identical(of_matrix(graph), run(counts_of(), groups_of(), preset = "knn", n.features = 0)$embedding))
    whole <- matrix(1:160, 80)
    expect_identical(of_matrix(whole), of_matrix(whole + 0))
    expect_snapshot({
        refusal(of_matrix(graph[1:70, ]))
        refusal(of_matrix(unname(graph[1:70, ])))
        refusal(run(counts_of(), groups_of(), graph = graph))
    })
})

# An assay of Seurat 5 as ConcordIntegration sees it: layers by name, each with its cells.
methods::setClass("LayeredAssay", representation(layers = "list", cells = "character"))
methods::setMethod("dimnames", "LayeredAssay", function(x) list(NULL, x@cells))

layered <- function(layers) methods::new("LayeredAssay", layers = layers, cells = colnames(counts_of()))

integrate <- function(assay, ...) {
    force(assay)
    of_seurat_5 <- list(has_layers = function() TRUE, layers_of = function(assay) names(assay@layers), layer_data = function(assay, layer) assay@layers[[layer]])
    with_internal(of_seurat_5, ConcordIntegration(assay, assay = "RNA", ..., n_epochs = 2, latent_dim = 6, verbose = FALSE))
}

split_layers <- function() {
    first <- groups_of() == "g1"
    data <- layer_data(pbmc()[["RNA"]], "data")
    list(counts.g1 = counts_of()[, first], counts.g2 = counts_of()[, !first], data.g1 = data[, first], data.g2 = data[, !first])
}

test_that("IntegrateLayers gets a list with the reduction, of the counts, in the order of the assay's cells", {
    expect_identical(attr(ConcordIntegration, "Seurat.method"), "integration")
    layers <- split_layers()
    out <- integrate(layered(layers), layers = c("data.g1", "data.g2"), new.reduction = "integrated")
    expect_named(out, "integrated")
    joined <- cbind(layers$counts.g1, layers$counts.g2)
    expected <- run(joined, groups_of(), batch_size = ConcordSettings()$batch_size)$embedding[colnames(counts_of()), ]
    expect_identical(unname(SeuratObject::Embeddings(out$integrated)), unname(expected))
    expect_identical(rownames(SeuratObject::Embeddings(out$integrated)), colnames(counts_of()))
    expect_identical(SeuratObject::Key(out$integrated), "concord_")
    expect_identical(summary(GetModel(out$integrated))$batches, c("counts.g1", "counts.g2"))
    expect_identical(integrate(layered(layers))[[1]], integrate(layered(layers), layers = c("data.g1", "data.g2"))[[1]])
})

test_that("only the layers asked for are integrated; without their counts, their data", {
    layers <- split_layers()
    g1 <- colnames(layers$counts.g1)
    halves <- list(a = layers$counts.g1[, 1:20], b = layers$counts.g1[, -(1:20)])
    three <- c(stats::setNames(halves, c("counts.a", "counts.b")), layers["counts.g2"], stats::setNames(halves, c("data.a", "data.b")), layers["data.g2"])
    some <- integrate(layered(three), layers = c("data.a", "data.b"))[[1]]
    expect_setequal(SeuratObject::Cells(some), g1)
    of_data <- integrate(layered(layers[c("data.g1", "data.g2")]), layers = c("data.g1", "data.g2"))[[1]]
    expect_false(summary(GetModel(of_data))$log1p)
})

test_that("layers are normalised as asked for", {
    layers <- split_layers()
    out <- integrate(layered(layers), normalize = "binarize")[[1]]
    joined <- cbind(layers$counts.g1, layers$counts.g2)
    expected <- run(joined, groups_of(), batch_size = ConcordSettings()$batch_size, normalize = "binarize")$embedding[colnames(counts_of()), ]
    expect_identical(unname(SeuratObject::Embeddings(out)), unname(expected))
    expect_false(identical(SeuratObject::Embeddings(out), SeuratObject::Embeddings(integrate(layered(layers))[[1]])))
    halves <- list(data.g1 = layers$data.g1, data.g2 = layers$data.g2)
    expect_error(integrate(layered(halves), normalize = "log-normalize"), "are no counts", class = "tutti_error_argument")
})

test_that("a table of groups takes the place of the layers, and one layer alone is refused", {
    groups <- data.frame(batch = groups_of()[80:1], row.names = colnames(counts_of())[80:1])
    whole <- layered(list(counts = counts_of(), data = counts_of()))
    out <- integrate(whole, layers = "data", groups = groups)[[1]]
    expected <- run(counts_of(), groups_of(), batch_size = ConcordSettings()$batch_size)
    expect_identical(unname(SeuratObject::Embeddings(out)), unname(expected$embedding))
    expect_snapshot({
        refusal(integrate(whole, layers = "data"))
        refusal(integrate(whole, layers = "data", groups = groups[1:70, , drop = FALSE]))
    })
})

test_that("settings that rarely help together are warned of before any training", {
    expect_silent(ConcordSettings(p_intra_domain = 0.95))
    expect_warning(settings <- ConcordSettings(p_intra_domain = 0.5), "use 0.95 or more", class = "tutti_warning")
    expect_identical(settings$p_intra_domain, 0.5)
    expect_named(ConcordSettings(), names(settings))
})

test_that("a call is logged as it was written, with its settings, and by do.call() without the object's text", {
    command <- function(object) object[["RunConcord.RNA"]]
    short <- list(n_epochs = 1, latent_dim = 4, verbose = FALSE)
    data <- pbmc()
    written <- command(RunConcord(data[, 1:60], group.by = "groups", n_epochs = 1, latent_dim = 4, verbose = FALSE))
    expect_identical(written@call.string, 'RunConcord(data[, 1:60], group.by = "groups", n_epochs = 1, latent_dim = 4, verbose = FALSE)')
    expect_identical(written@assay.used, "RNA")
    expect_identical(written@params[c("group.by", "n_epochs", "reduction.name", "seed.use")], list(group.by = "groups", n_epochs = 1, reduction.name = "concord", seed.use = 42))

    once <- do.call(RunConcord, c(list(data, group.by = "groups"), short))
    expect_identical(command(once)@call.string, 'RunConcord(Seurat, group.by = "groups", n_epochs = 1, latent_dim = 4, verbose = FALSE)')
    again <- do.call("RunConcord", c(list(once, group.by = "groups"), short))
    expect_lt(abs(as.numeric(utils::object.size(again) - utils::object.size(once))), 2000)
})

test_that("binarised counts are those of a matrix of 0 and 1", {
    counts <- counts_of(pbmc())
    there <- counts
    there@x[] <- 1
    options <- list(group.by = pbmc()$groups, n_epochs = 2, latent_dim = 5, n.features = 0, verbose = FALSE)
    run <- function(x, ...) do.call(RunConcord, c(list(x), options, list(...)))$embedding
    expect_identical(run(counts, normalize = "binarize"), run(there))
    expect_false(identical(run(counts), run(there)))
    expect_identical(run(counts, normalize = "log-normalize"), run(counts))
    expect_error(run(counts, normalize = "counts"), "`log-normalize` or `binarize`", class = "tutti_error_argument")
})

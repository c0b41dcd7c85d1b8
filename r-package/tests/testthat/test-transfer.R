# 400 cells of five clusters in two batches; the reference has two thirds of them, and nothing of cluster_5.
reference_and_query <- function() {
    object <- SimulateCells("five_clusters_two_batches", n_cells = 400, n_genes = 60)
    set.seed(1)
    held_out <- object$cell_type == "cluster_5" | stats::runif(400) < 0.3
    reference <- run(object[, !held_out], "batch", n_epochs = 30, latent_dim = 16, batch_size = 64)
    list(reference = reference, query = object[, held_out])
}

test_that("labels are those of the truth, and cells of an unknown kind are novel", {
    cells <- reference_and_query()
    query <- MapToReference(cells$query, cells$reference, label.by = c("cell_type", "batch"))
    known <- cells$query$cell_type != "cluster_5"
    expect_gt(mean(query$predicted.cell_type[known] == as.character(query$cell_type[known])), 0.98)
    novelty <- query$predicted.cell_type.novelty
    expect_gt(stats::median(novelty[!known]), 0.99)
    expect_lt(stats::median(novelty[known]), 0.75)

    # In the shape of Seurat's MapQuery.
    scores <- query[["prediction.score.cell_type"]]
    expect_identical(rownames(scores), paste0("cluster-", 1:4))
    expect_equal(unname(colSums(layer_data(scores, "data"))), rep(1, ncol(query)), tolerance = 1e-6)
    expect_equal(unname(apply(layer_data(scores, "data"), 2, max)), query$predicted.cell_type.score, ignore_attr = TRUE)
    expect_true(all(c("predicted.batch", "predicted.batch.score", "predicted.batch.novelty") %in% names(query[[]])))
})

test_that("a reference's own cells map onto themselves, whatever the order of cells and genes", {
    object <- run(pbmc(), "groups")
    expect_identical(coordinates(MapToReference(pbmc(), object, verbose = FALSE), "ref.concord"), coordinates(object))
    result <- run(counts_of(), groups_of())
    set.seed(2)
    shuffled <- counts_of()[sample(230), sample(80)]
    expect_equal(MapToReference(shuffled, result)$embedding[colnames(counts_of()), ], result$embedding, tolerance = 1e-6)
})

test_that("a matrix, a Seurat object and a SingleCellExperiment get the same labels", {
    reference <- run(pbmc()[, 1:60], "groups")
    query <- pbmc()[, 61:80]
    of_seurat <- MapToReference(query, reference, label.by = "letter.idents", verbose = FALSE)
    of_matrix <- MapToReference(counts_of(query), reference, label.by = "letter.idents", verbose = FALSE)
    of_sce <- MapToReference(sce_of(query), reference, label.by = "letter.idents", verbose = FALSE)
    expect_identical(unname(of_seurat$predicted.letter.idents), of_matrix$labels$letter.idents$predicted.id)
    expect_identical(of_sce$predicted.letter.idents, of_matrix$labels$letter.idents$predicted.id)
    expect_identical(coordinates(of_sce, "REF_CONCORD"), coordinates(of_seurat, "ref.concord"))
    expect_identical(unname(of_matrix$embedding), coordinates(of_seurat, "ref.concord"))

    sce_reference <- run(sce_of(pbmc()[, 1:60]), "groups", features = SeuratObject::VariableFeatures(pbmc()))
    expect_identical(MapToReference(counts_of(query), sce_reference, label.by = "letter.idents", verbose = FALSE), of_matrix)
})

test_that("a projection is the weighted mean of the nearest reference cells", {
    reference <- run(pbmc()[, 1:60], "groups")
    query <- MapToReference(pbmc()[, 61:80], reference, projection = "tsne", n.neighbors = 1, verbose = FALSE)
    unit <- function(x) x / sqrt(rowSums(x^2))
    cosine <- unit(coordinates(query, "ref.concord")) %*% t(unit(coordinates(reference)))
    nearest <- max.col(cosine, ties.method = "first")
    expect_equal(coordinates(query, "ref.tsne"), coordinates(reference, "tsne")[nearest, ], tolerance = 1e-5)
})

test_that("a model with a classifier gives its classes without the reference's cells", {
    object <- five_clusters()
    object <- run(object, "batch", label.by = "cell_type", n_epochs = 30, latent_dim = 16, batch_size = 64)
    query <- MapToReference(five_clusters(), GetModel(object), verbose = FALSE)
    expect_identical(unname(query$predicted.class), as.character(object$concord_class))
    expect_equal(unname(query$predicted.class.score), unname(object$concord_class_probability), tolerance = 1e-6)
})

test_that("the vote is the one counted by hand", {
    # Unit vectors on a circle: the query at 0 degrees sees a (0), b (10), b (-10), a (180).
    at <- function(degrees) cbind(cos(degrees * pi / 180), sin(degrees * pi / 180))
    reference <- at(c(0, 10, -10, 180))
    labels <- c("a", "b", "b", "a")
    one <- TransferLabels(reference, labels, at(0), n.neighbors = 1)
    expect_identical(one$predicted.id, "a")
    three <- TransferLabels(reference, labels, at(0), n.neighbors = 3)
    expect_identical(three$predicted.id, "b")
    expect_equal(three$prediction.score.a + three$prediction.score.b, 1, tolerance = 1e-6)
    # Without its label the nearest does not vote; names, not places, join labels to cells.
    unknown <- TransferLabels(reference, c(NA, "b", "b", "a"), at(0), n.neighbors = 1)
    expect_identical(unknown$predicted.id, "b")
    rownames(reference) <- letters[1:4]
    expect_identical(TransferLabels(reference, stats::setNames(labels, letters[1:4])[4:1], at(0), n.neighbors = 3), three)
})

test_that("an empty text names no class", {
    at <- function(degrees) cbind(cos(degrees * pi / 180), sin(degrees * pi / 180))
    reference <- at(1:80)
    labels <- rep(c("", "a", " ", "b"), each = 20)
    known <- replace(labels, labels %in% c("", " "), NA)
    for (held.out in c(0, 0.2)) {
        run <- function(labels) TransferLabels(reference, labels, at(c(30.1, 70.1)), n.neighbors = 3, held.out = held.out, false.rejection.rate = 0.5)
        expect_warning(found <- run(labels), "40 reference cells have an empty text as `labels`", class = "tutti_warning")
        expect_identical(found, run(known))
        expect_true(all(found$predicted.id %in% c("a", "b")))
        expect_identical(grep("^prediction.score", colnames(found), value = TRUE), paste0("prediction.score.", c("a", "b", "max")))
    }
    cells <- reference_and_query()
    cells$reference$cell_type <- replace(as.character(cells$reference$cell_type), 1:30, "")
    expect_warning(
        query <- MapToReference(cells$query, cells$reference, label.by = "cell_type", verbose = FALSE), "30 reference cells have an empty text as `cell_type`",
        class = "tutti_warning"
    )
    expect_true(all(nzchar(query$predicted.cell_type)))
    expect_identical(rownames(query[["prediction.score.cell_type"]]), paste0("cluster-", 1:4))
})

test_that("votes are of the nearest by the metric asked for, and by that of the model", {
    # The query is at 10 on the first axis: b is in its direction and far away, a near it at an angle.
    reference <- rbind(c(10, 2), c(100, 1), c(-1, 0))
    vote <- function(...) TransferLabels(reference, c("a", "b", "c"), cbind(10, 0), n.neighbors = 1, ...)
    expect_identical(vote()$predicted.id, "b")
    near <- vote(metric = "euclidean")
    expect_identical(near$predicted.id, "a")
    expect_equal(near$similarity, 1 / (1 + 2), tolerance = 1e-6)
    expect_error(vote(metric = "manhattan"), "`metric` is \"manhattan\"", class = "tutti_error_argument")

    object <- five_clusters()
    types <- object[, object$batch == levels(factor(object$batch))[[1]]]
    others <- object[, object$batch != levels(factor(object$batch))[[1]]]
    for (preset in c("default", "paper")) {
        named <- suppressWarnings(RunCellPredX(others, types, "cell_type", preset = preset, scenario = "rna-to-rna", n_steps = 30, reject = FALSE, verbose = FALSE))
        mapped <- MapToReference(others, named, label.by = "predicted.cell_type", verbose = FALSE)
        by <- function(metric) {
            TransferLabels(coordinates(named, "cellpredx"), unname(named$predicted.cell_type), coordinates(mapped, "ref.concord"), metric = metric)$novelty
        }
        metrics <- if (preset == "default") c("euclidean", "cosine") else c("cosine", "euclidean")
        expect_identical(unname(mapped$predicted.predicted.cell_type.novelty), by(metrics[[1]]))
        expect_false(identical(unname(mapped$predicted.predicted.cell_type.novelty), by(metrics[[2]])))
    }
})

test_that("votes are calibrated on cells that do not vote, and cells of no known kind are refused", {
    set.seed(4)
    n <- 1500
    type <- rep(c("wide", "narrow", "wide", "narrow", "new"), length.out = n)
    # Angles between cells: the spread of `wide` is many times that of `narrow`.
    spread <- c(wide = 0.2, narrow = 0.03, new = 0.03)[type]
    axis <- match(type, c("wide", "narrow", "new"))
    x <- diag(3)[axis, ] * 3 + matrix(stats::rnorm(3 * n), n) * spread
    rownames(x) <- paste0("cell", seq_len(n))
    known <- which(type != "new")[1:800]
    others <- setdiff(seq_len(n), known)
    finer <- paste(type[known], ifelse(x[known, 3] > 0, "up", "down"))
    run <- function(...) TransferLabels(x[known, ], type[known], x[others, ], n.neighbors = 15, held.out = 0.4, ...)
    found <- run(finer = finer)
    of_known <- type[others] != "new"
    expect_identical(found$predicted.id[of_known], type[others][of_known])
    expect_true(all(found$unknown[!of_known] & found$reason[!of_known] == "novel"))
    expect_lt(mean(found$unknown[of_known]), 0.12)
    expect_identical(found$unknown, !is.na(found$reason))
    expect_identical(found$unknown, found$novelty > attr(found, "limits")$max_novelty | found$probability < attr(found, "limits")$min_probability)
    expect_identical(sub(" .*", "", found$finer.id), found$predicted.id)
    expect_gt(mean((found$finer.id == paste(type[others], ifelse(x[others, 3] > 0, "up", "down")))[of_known]), 0.85)

    # One limit for all refuses hardly a cell of the narrow class; of each class its own.
    each <- run(limits = "by-class")
    limits <- attr(each, "limits")$by_class
    expect_identical(limits$class, c("narrow", "wide"))
    expect_identical(sum(limits$n_held_out), 320)
    narrow <- type[others] == "narrow"
    expect_identical(sum(found$unknown[narrow]), 0L)
    expect_lt(abs(mean(each$unknown[narrow]) - 0.05), 0.045)
    expect_lt(limits$max_novelty[[1]], attr(found, "limits")$max_novelty)
    expect_identical(each$unknown[narrow], each$novelty[narrow] > limits$max_novelty[[1]] | each$probability[narrow] < limits$min_probability[[1]])
    expect_false(any(run(reject = FALSE)$unknown))
    expect_identical(run(max.novelty = 0.5, min.probability = 0)$unknown, found$novelty > 0.5)
    expect_identical(run(seed.use = 42, threads = 1), run())
    expect_error(TransferLabels(x[known, ], type[known], x[others, ], limits = "by-class"), "no effect without `held.out`", class = "tutti_error_argument")
})

test_that("what does not fit is refused", {
    result <- run(counts_of(), groups_of())
    expect_warning(MapToReference(counts_of()[1:150, ], result), "80 of the model's 230 genes", class = "tutti_warning")
    expect_silent(MapToReference(counts_of()[1:150, ], result, verbose = FALSE))
    x <- matrix(c(1, 2, 3, 4, 5, 7), 3)
    expect_snapshot({
        refusal(MapToReference(counts_of()[1:20, ], result))
        refusal(MapToReference(counts_of(), result, min.overlap = 2))
        refusal(MapToReference(counts_of(), result, n.neighbors = 0, label.by = "a"))
        refusal(MapToReference(counts_of(), result, label.by = "letter.idents"))
        refusal(MapToReference(counts_of(), run(pbmc(), "groups"), label.by = "donor"))
        refusal(MapToReference(counts_of(), run(pbmc(), "groups"), projection = "umap"))
        refusal(TransferLabels(x, 1:2, x))
        refusal(TransferLabels(x, 1:3, x[, 1]))
        refusal(TransferLabels(replace(x, 1, NA), 1:3, x))
        refusal(TransferLabels(matrix("a", 2, 2), 1:2, x))
    })
})

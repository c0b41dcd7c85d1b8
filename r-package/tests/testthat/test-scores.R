labels_of <- function(object) stats::setNames(as.character(object$cell_type), colnames(object))
batches_of <- function(object) stats::setNames(as.character(object$batch), colnames(object))

test_that("rows are joined by name: embeddings, labels, batches, reference, truth", {
    object <- five_clusters()
    set.seed(3)
    truth <- t(as.matrix(layer_data(object[["no_noise"]], "data")))
    noisy <- truth + stats::rnorm(length(truth), sd = 0.3)
    before <- noisy + 0.5 * (object$batch == "batch_2")
    expected <- ScoreIntegration(list(a = noisy), label.by = labels_of(object), group.by = batches_of(object), before = before, truth = truth)
    expect_true(all(c("pcr_comparison", "total") %in% expected$score))
    order <- sample(200)
    shuffled <- ScoreIntegration(
        list(a = noisy), label.by = labels_of(object)[order], group.by = batches_of(object)[rev(order)], before = before[order, ], truth = truth[order, ]
    )
    expect_identical(shuffled, expected)

    two <- ScoreIntegration(list(a = noisy, b = noisy[order, ], c = unname(noisy)), label.by = labels_of(object), group.by = batches_of(object))
    expect_identical(two$b, two$a)
    expect_identical(two$c, two$a)
    unnamed_first <- ScoreIntegration(list(c = unname(noisy), a = noisy), label.by = labels_of(object), group.by = batches_of(object))
    expect_identical(unnamed_first$c, two$a)
})

test_that("scores lie in 0 to 1, are best where clusters are apart and batches mixed, and name what they are", {
    object <- five_clusters()
    set.seed(3)
    centre <- 10 * diag(5)[as.integer(object$cell_type), ]
    good <- centre + stats::rnorm(1000)
    bad <- centre * 0 + 10 * (object$batch == "batch_2") + stats::rnorm(1000)
    scores <- ScoreIntegration(list(bad = bad, good = good), label.by = unname(labels_of(object)), group.by = unname(batches_of(object)))
    expect_s3_class(scores, "tutti_scores")
    expect_identical(names(scores), c("family", "score", "title", "is_aggregate", "good", "bad"))
    values <- as.matrix(scores[!grepl("^ari", scores$score), c("good", "bad")])
    expect_true(all(is.na(values) | (values >= 0 & values <= 1)))
    of <- function(score) unlist(scores[scores$score == score, c("good", "bad")])
    expect_equal(of("ari")[["good"]], 1)
    expect_lt(of("ari")[["bad"]], 0.1)
    expect_gt(of("ilisi")[["good"]], of("ilisi")[["bad"]] + 0.5)
    expect_equal(of("total"), 0.6 * of("bio_conservation") + 0.4 * of("batch_correction"), tolerance = 1e-6)
    expect_output(print(scores), "total")
})

test_that("objects give the scores of their reductions", {
    pca <- SeuratObject::Embeddings(pbmc(), "pca")
    label <- as.character(pbmc()$letter.idents)
    expected <- ScoreIntegration(list(pca = pca), label.by = label, group.by = unname(groups_of()))
    expect_identical(ScoreIntegration(pbmc(), "pca", label.by = "letter.idents", group.by = "groups"), expected)
    all <- ScoreIntegration(pbmc(), label.by = "letter.idents", group.by = "groups")
    expect_setequal(names(all)[-(1:4)], c("pca", "tsne"))
    sce <- sce_of()
    SingleCellExperiment::reducedDim(sce, "PCA") <- pca
    expect_identical(ScoreIntegration(sce, label.by = "letter.idents", group.by = "groups")$PCA, expected$pca)
    expect_snapshot({
        refusal(ScoreIntegration(pbmc(), "umap", label.by = "letter.idents", group.by = "groups"))
        refusal(ScoreIntegration(pbmc(), label.by = "donor", group.by = "groups"))
        refusal(ScoreIntegration(pca, label.by = label, group.by = label))
        refusal(ScoreIntegration(list(a = pca, b = pca[1:70, ]), label.by = label, group.by = label))
        refusal(ScoreIntegration(list(a = pca), label.by = label[1:70], group.by = label))
        refusal(ScoreIntegration(pbmc(), label.by = "letter.idents", group.by = "groups", metric = "manhattan"))
    })
})

test_that("a circle has one loop that is born between neighbours and dies at the root of three", {
    turn <- seq(0, 2 * pi, length.out = 61)[-61]
    topology <- EmbeddingTopology(cbind(cos(turn), sin(turn)), max.dim = 1, betti = c(0, 1))
    loops <- topology$diagram[topology$diagram$dimension == 1, ]
    loop <- loops[which.max(loops$death - loops$birth), ]
    # Vietoris-Rips of a circle of 60 points: an edge spans 6 degrees, the largest triangle 120.
    expect_equal(c(loop$birth, loop$death), c(2 * sin(pi / 60), sqrt(3)), tolerance = 1e-5)
    expect_identical(topology$summary$betti, 0:1)
    of_a_blob <- EmbeddingTopology(cbind(cos(turn), sin(turn)), max.dim = 1, betti = c(0, 0))
    expect_gt(topology$score, of_a_blob$score + 0.2)
    expect_named(topology$curves, c("dimension", "length", "betti"))
    expect_identical(nrow(topology$curves), 200L)
})

test_that("topology of objects, and what it refuses", {
    of_object <- EmbeddingTopology(pbmc(), "pca", max.dim = 1)
    expect_identical(of_object, EmbeddingTopology(SeuratObject::Embeddings(pbmc(), "pca"), max.dim = 1))
    expect_null(of_object$score)
    x <- matrix(1:6, 3)
    expect_snapshot({
        refusal(EmbeddingTopology(pbmc()))
        refusal(EmbeddingTopology(pbmc(), "umap"))
        refusal(EmbeddingTopology(x, max.dim = -1))
        refusal(EmbeddingTopology(x, betti = c(0, 1)))
        refusal(EmbeddingTopology(x, betti = c(0, 1.5, 0)))
        refusal(EmbeddingTopology(replace(x, 2, NA)))
    })
})

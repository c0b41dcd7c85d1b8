# Distance between the batches' means of each cluster, mean over clusters.
distance_of_batches <- function(values, cells) {
    of <- function(cluster, batch) rowMeans(values[, cells$cell_type == cluster & cells$batch == batch])
    mean(vapply(levels(cells$cell_type), function(k) sqrt(sum((of(k, "batch_1") - of(k, "batch_2"))^2)), 0))
}

test_that("corrected expression keeps clusters and loses batches", {
    object <- five_clusters()
    values <- as.matrix(layer_data(object[["RNA"]], "data"))
    object <- CorrectExpression(run(object, "batch", n_epochs = 30, latent_dim = 16, batch_size = 64, use_decoder = TRUE))
    corrected <- layer_data(object[["concord.corrected"]], "data")
    expect_identical(dimnames(corrected), dimnames(values))
    expect_lt(distance_of_batches(corrected, object[[]]), 0.2 * distance_of_batches(values, object[[]]))
    means <- vapply(levels(object$cell_type), function(k) rowMeans(corrected[1:60, object$cell_type == k]), numeric(60))
    truth <- layer_data(object[["no_noise"]], "data")
    expected <- vapply(levels(object$cell_type), function(k) rowMeans(as.matrix(truth[1:60, object$cell_type == k])), numeric(60))
    expect_gt(stats::cor(as.vector(means), as.vector(expected)), 0.9)
})

test_that("every kind of object gets the same values, of the batch asked for", {
    train <- function(object, ...) run(object, ..., use_decoder = TRUE, n.features = 0)
    result <- train(counts_of(), groups_of())
    values <- CorrectExpression(result, batch = "g2")
    expect_identical(dimnames(values), dimnames(counts_of()))
    object <- CorrectExpression(train(pbmc(), "groups"), batch = "g2", new.assay = "fixed")
    expect_equal(as.matrix(layer_data(object[["fixed"]], "data")), values)
    sce <- CorrectExpression(train(sce_of(), "groups"), batch = "g2")
    expect_equal(SummarizedExperiment::assay(SingleCellExperiment::altExp(sce, "concord.corrected")), values)
    expect_identical(CorrectExpression(result), CorrectExpression(result, batch = "g1"))
    expect_false(identical(CorrectExpression(result), values))
    expect_snapshot({
        refusal(CorrectExpression(result, batch = "g3%s"))
        refusal(CorrectExpression(run(counts_of(), groups_of())))
        refusal(CorrectExpression(pbmc()))
    })
})

test_that("attribution is the derivative of the mean embedding, by central differences", {
    set.seed(4)
    values <- matrix(stats::runif(8 * 60, 0.5, 2), 8, dimnames = list(paste0("g", 1:8), paste0("c", 1:60)))
    result <- run(values, NULL, n_epochs = 20, latent_dim = 4, encoder_dims = 16)
    attribution <- GeneAttribution(values, model = result)
    expect_identical(dimnames(attribution), list(rownames(values), paste0("CONCORD_", 1:4)))
    h <- 0.01
    moved <- function(gene, by) {
        values[gene, ] <- values[gene, ] + by
        colMeans(MapToReference(values, result)$embedding)
    }
    differences <- t(vapply(rownames(values), function(gene) (moved(gene, h) - moved(gene, -h)) / (2 * h), numeric(4)))
    expect_lt(max(abs(attribution - differences)), 0.03 * max(abs(differences)))
})

test_that("attribution of hidden layers, of some cells, and of any object", {
    object <- run(pbmc(), "groups", encoder_dims = c(20, 10))
    features <- SeuratObject::VariableFeatures(pbmc())
    expect_identical(dimnames(GeneAttribution(object)), list(features, paste0("CONCORD_", 1:6)))
    expect_identical(dimnames(GeneAttribution(object, encoder.layer = 0)), list(features, paste0("neuron_", 1:20)))
    expect_identical(dim(GeneAttribution(object, encoder.layer = 1)), c(20L, 10L))
    some <- colnames(object)[1:20]
    expect_equal(GeneAttribution(object, cells = some), GeneAttribution(counts_of()[, some], model = GetModel(object)))
    expect_equal(GeneAttribution(sce_of(), model = object), GeneAttribution(object))
    # The mean over all cells is that of its parts.
    halves <- lapply(list(1:40, 41:80), function(i) GeneAttribution(object, cells = colnames(object)[i]))
    expect_equal((halves[[1]] + halves[[2]]) / 2, GeneAttribution(object), tolerance = 1e-5)
    expect_snapshot({
        refusal(GeneAttribution(object, encoder.layer = 3))
        refusal(GeneAttribution(object, cells = "none%d"))
        refusal(GeneAttribution(counts_of()))
        refusal(GeneAttribution(counts_of(), model = "concord"))
    })
})

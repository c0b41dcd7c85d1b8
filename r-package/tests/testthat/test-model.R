test_that("a model survives saveRDS within its object", {
    object <- run(pbmc(), "groups", n.features = 0)
    file <- tempfile(fileext = ".rds")
    saveRDS(object, file)
    back <- readRDS(file)
    expect_identical(GetModel(back), GetModel(object))
    expect_identical(TrainingHistory(back), TrainingHistory(object))
    expect_identical(coordinates(MapToReference(pbmc(), back, verbose = FALSE), "ref.concord"), coordinates(object))
})

test_that("a saved file is the model, byte by byte", {
    result <- run(counts_of(), groups_of())
    file <- tempfile(fileext = ".safetensors")
    expect_identical(SaveTutti(result, file), file)
    expect_identical(readBin(file, "raw", file.size(file)), GetModel(result)$raw)
    expect_identical(LoadTutti(file), GetModel(result))
    expect_identical(list.files(dirname(file), "[.]part$"), character())
    SaveTutti(GetModel(run(counts_of(), groups_of(), seed.use = 1)), file)
    expect_false(identical(LoadTutti(file), GetModel(result)))
    expect_identical(TrainingHistory(GetModel(result)), TrainingHistory(result))
})

test_that("a model says what it is", {
    result <- run(counts_of(), groups_of(), label.by = as.character(pbmc()$letter.idents))
    expect_snapshot({
        result
        GetModel(result)
        GetModel(run(layer_data(pbmc()[["RNA"]], "data"), groups_of()))
    })
    info <- summary(GetModel(result))
    expect_identical(info$features, rownames(counts_of()))
    expect_identical(info$batches, c("g1", "g2"))
    expect_identical(info$classes, c("A", "B"))
    expect_identical(info$settings$latent_dim, 6)
})

test_that("the model of the last reduction is taken, or of the one named", {
    object <- run(run(pbmc(), "groups"), "groups", seed.use = 1, reduction.name = "second", reduction.key = "SECOND_")
    expect_identical(GetModel(object), GetModel(object[["second"]]))
    expect_false(identical(GetModel(object, "concord"), GetModel(object)))
    expect_snapshot({
        refusal(GetModel(object, "pca"))
        refusal(GetModel(pbmc()))
        refusal(GetModel(1))
    })
})

test_that("a SingleCellExperiment holds its models by reduced dimension", {
    object <- run(run(sce_of(), "groups"), "groups", seed.use = 1, reduction.name = "SECOND")
    expect_identical(names(S4Vectors::metadata(object)$tutti), c("CONCORD", "SECOND"))
    expect_identical(GetModel(object, "CONCORD"), GetModel(run(counts_of(), groups_of())))
    expect_false(identical(GetModel(object), GetModel(object, "CONCORD")))
})

test_that("what is no model, or only part of one, is refused", {
    result <- run(counts_of(), groups_of())
    short <- GetModel(result)
    short$raw <- short$raw[seq_len(length(short$raw) - 10)]
    header <- GetModel(result)
    header$raw <- header$raw[1:100]
    numbers <- GetModel(result)
    numbers$raw <- 1:3
    text <- tempfile()
    writeLines("no model", text)
    without_path <- function(lines) gsub(text, "<file>", lines, fixed = TRUE)
    expect_snapshot({
        refusal(MapToReference(counts_of(), short))
        refusal(MapToReference(counts_of(), header))
        refusal(MapToReference(counts_of(), numbers))
        refusal(MapToReference(counts_of(), list()))
        refusal(TrainingHistory(header))
        refusal(LoadTutti("there-is-none"))
        refusal(LoadTutti(1))
        refusal(LoadTutti(text))
        refusal(SaveTutti(result, "/there/is/none"))
    }, transform = without_path)
})

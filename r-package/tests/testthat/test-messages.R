# What a new user does wrong first, and the way out that the message must name.

test_that("cell names that occur twice are refused with the call that mends them", {
    counts <- SeuratObject::GetAssayData(pbmc(), slot = "counts")
    colnames(counts)[[2]] <- colnames(counts)[[1]]
    expect_error(RunConcord(counts), "make.unique", class = "tutti_error_data")
})

test_that("a column of numbers is no batch", {
    expect_error(RunConcord(pbmc(), group.by = "nCount_RNA"), "column of categories", class = "tutti_error_argument")
})

test_that("scores without a label name the columns that could be it", {
    expect_error(ScoreIntegration(pbmc(), "pca", group.by = "groups"), "letter.idents", class = "tutti_error_argument")
    embeddings <- list(pca = SeuratObject::Embeddings(pbmc(), "pca"))
    expect_error(ScoreIntegration(embeddings, group.by = pbmc()$groups), "label.by", class = "tutti_error_argument")
})

test_that("labels with underscores transfer without a warning", {
    cells <- pbmc()
    cells$type <- paste0("type_", cells$letter.idents)
    reference <- RunConcord(cells, group.by = "groups", n_epochs = 1, latent_dim = 5, verbose = FALSE)
    expect_no_warning(query <- MapToReference(cells, reference, label.by = "type", verbose = FALSE))
    expect_setequal(rownames(query[["prediction.score.type"]]), c("type-A", "type-B"))
    expect_true(all(query$predicted.type %in% c("type_A", "type_B")))
})

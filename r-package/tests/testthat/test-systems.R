test_that("classes are the most probable ones", {
    values <- matrix(c(0.2, 0.5, 0.7, 0.5, 0.1, 0), 2)
    table <- class_table(list(values = values, classes = c("a", "b", "c")), c("x", "y"))
    expect_identical(table$class, factor(c("b", "a"), levels = c("a", "b", "c")))
    expect_identical(table$probability, c(0.7, 0.5))
    expect_identical(dimnames(table$values), list(c("x", "y"), c("a", "b", "c")))
    expect_null(class_table(NULL, "x"))
})

test_that("names of assays make valid keys, and keys one underscore", {
    values <- matrix(1, 2, 2, dimnames = list(c("a", "b"), c("x", "y")))
    expect_silent(assay <- new_assay(values, "prediction.score_x"))
    expect_identical(SeuratObject::Key(assay), "predictionscorex_")
    object <- run(pbmc(), "groups", reduction.key = "space")
    expect_identical(SeuratObject::Key(object[["concord"]]), "space_")
})

test_that("a result prints what it is", {
    expect_output(print(run(counts_of(), groups_of())), "CONCORD embedding of 80 cells in 6 dimensions, trained on 230 features for 2 epochs", fixed = TRUE)
})

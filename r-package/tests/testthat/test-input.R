# A dense matrix of a class of Matrix.
unpacked <- function(x) as(as(x, "dMatrix"), "unpackedMatrix")

test_that("every kind of matrix and object gives the same embedding, to the bit", {
    counts <- counts_of()
    expected <- embed(counts)
    expect_equal(dim(expected), c(80, 6))
    dense <- as.matrix(counts)
    integers <- dense
    storage.mode(integers) <- "integer"
    others <- list(
        dense = dense, integer = integers, triplets = as(counts, "TsparseMatrix"), rows = as(counts, "RsparseMatrix"), dense_class = unpacked(dense)
    )
    for (name in names(others)) {
        expect_identical(embed(others[[name]]), expected, label = name)
    }

    object <- run(pbmc(), "groups", n.features = 0)
    expect_identical(coordinates(object), unname(expected))
    expect_identical(rownames(SeuratObject::Embeddings(object, "concord")), colnames(counts))
    expect_identical(coordinates(run(sce_of(), "groups", n.features = 0)), unname(expected))
})

test_that("logical matrices are read as zeros and ones", {
    there <- counts_of() > 0
    expect_s4_class(there, "lgCMatrix")
    ones <- as(there, "dMatrix")
    expected <- embed(ones)
    expect_identical(embed(there), expected)
    expect_identical(embed(as.matrix(there)), expected)
    expect_identical(embed(as(there, "nMatrix")), expected)
})

test_that("a dgCMatrix is handed to Rust as it is, and nothing of it changes", {
    counts <- counts_of()
    before <- counts@x + 0
    expect_identical(cells_input(list(counts))$matrices[[1]], counts)
    address <- function(x) sub(" .*", "", utils::capture.output(.Internal(inspect(x)))[[1]])
    expect_identical(address(cells_input(list(counts))$matrices[[1]]@x), address(counts@x))
    embed(counts)
    expect_identical(counts@x, before)

    object <- run(pbmc(), "groups")
    expect_identical(counts_of(object), counts_of())
    expect_identical(address(counts_of(object)@x), address(counts_of()@x))
})

test_that("cells are joined by name", {
    set.seed(1)
    order <- sample(80)
    expect_identical(embed(group.by = groups_of()[order]), embed())

    shuffled <- pbmc()
    shuffled@meta.data <- shuffled@meta.data[order, ]
    expect_identical(coordinates(run(shuffled, "groups")), coordinates(run(pbmc(), "groups")))

    # Columns in another order are other cells by number: their own batches follow them.
    moved <- counts_of()[, order]
    expect_identical(embed(moved), embed(moved, unname(groups_of()[order])))
})

test_that("genes in another order change nothing where features are named", {
    features <- rownames(counts_of())[1:50]
    at <- function(counts) run(counts, groups_of(), features = features)$embedding
    expect_identical(at(counts_of()[230:1, ]), at(counts_of()))
})

test_that("layers split by batch are read side by side, with the features that all have", {
    counts <- counts_of()
    first <- groups_of() == "g1"
    parts <- list(counts[, first], counts[230:1, !first])
    input <- cells_input(parts)
    expect_identical(input$cells, c(colnames(counts)[first], colnames(counts)[!first]))
    expect_identical(input$genes, rownames(counts))
    expect_identical(input$matrices[[2]], counts[, !first])
    expect_identical(cells_input(list(parts[[1]][1:100, ], parts[[2]]))$genes, rownames(counts)[1:100])
    expect_snapshot(refusal(cells_input(list(counts[1:10, ], counts[11:20, ]))))
})

test_that("an assay with layers by batch gives the embedding of the whole", {
    counts <- counts_of()
    first <- groups_of() == "g1"
    split <- list(
        layers_there = function(assay) c("counts.g1", "counts.g2", "data.g1"),
        layer_data = function(assay, layer) counts[, if (layer == "counts.g1") first else !first]
    )
    joined <- counts[, c(which(first), which(!first))]
    object <- with_internal(split, run(pbmc(), "groups", n.features = 0))
    expected <- embed(joined)[colnames(counts), ]
    expect_identical(coordinates(object), unname(expected))
})

test_that("an object without counts gives its data, as they are", {
    data <- layer_data(pbmc()[["RNA"]], "data")
    object <- SeuratObject::CreateSeuratObject(new_assay(data, "rna"), meta.data = pbmc()[[]])
    said <- capture_messages(object <- RunConcord(object, "groups", n_epochs = 1, latent_dim = 4))
    expect_match(said[[1]], "Values: log-normalised; genes: all 230", fixed = TRUE)
    whole <- RunConcord(pbmc(), "groups", layer = "data", n.features = 0, n_epochs = 1, latent_dim = 4, verbose = FALSE)
    expect_identical(coordinates(object), coordinates(whole))
})

test_that("several columns of batches are one of their combinations", {
    object <- pbmc()
    object$both <- paste(object$groups, object$letter.idents)
    expect_identical(coordinates(run(object, c("groups", "letter.idents"))), coordinates(run(object, "both")))
})

test_that("a wrong object, assay, layer, reduction or column is named, with those there are", {
    expect_snapshot({
        refusal(run(pbmc()))
        refusal(run(pbmc(), "donor"))
        refusal(run(pbmc(), c("groups", "donor%s")))
        refusal(run(pbmc(), character()))
        refusal(run(pbmc(), "groups", assay = "ADT"))
        refusal(run(pbmc(), "groups", layer = "magic"))
        refusal(run(pbmc(), "groups", layer = 3))
        refusal(run(pbmc(), "groups", graph.reduction = "umap", preset = "knn"))
        refusal(run(data.frame(a = 1)))
        refusal(run(NULL))
        refusal(run(matrix("a", 2, 2)))
    })
})

test_that("a wrong column of a SingleCellExperiment is named", {
    sce <- sce_of()
    expect_snapshot({
        refusal(run(sce))
        refusal(run(sce, "donor"))
        refusal(run(sce, "groups", assay = "magic"))
        refusal(run(sce, "groups", graph.reduction = "PCA", preset = "knn"))
    })
})

test_that("names that Rust or C could read as a format are only names", {
    object <- pbmc()
    object@meta.data[["a%s%n"]] <- groups_of()
    expect_silent(run(object, "a%s%n"))
    object@meta.data[["a%s%n"]][3] <- NA
    counts <- as.matrix(counts_of())
    rownames(counts)[[1]] <- "%s%n%d"
    counts[1, 1] <- -1
    expect_snapshot({
        refusal(run(object, "b%s%n"))
        refusal(run(object, "a%s%n"))
        refusal(embed(counts))
    })
})

test_that("a missing batch is named by its cell", {
    object <- pbmc()
    object$groups[[3]] <- NA
    batch <- groups_of()
    batch[[3]] <- NA
    expect_snapshot({
        refusal(run(object, "groups"))
        refusal(embed(group.by = batch))
        refusal(embed(group.by = groups_of()[1:5]))
        refusal(embed(group.by = unname(groups_of()[1:5])))
    })
})

test_that("values that are no expression are named by cell and gene", {
    with_value <- function(value) {
        x <- counts_of()
        x@x[[5]] <- value
        x
    }
    dense <- function(value) {
        x <- as.matrix(counts_of())
        x[3, 4] <- value
        x
    }
    expect_snapshot({
        refusal(embed(with_value(-2)))
        refusal(embed(with_value(NA)))
        refusal(embed(with_value(Inf)))
        refusal(embed(with_value(1e300)))
        refusal(embed(dense(-2)))
        refusal(embed(dense(NA)))
        refusal(embed(dense(-Inf)))
        refusal(embed(unpacked(dense(NaN))))
    })
})

test_that("matrices without cells, genes, names or values are refused", {
    counts <- counts_of()
    named <- function(margin) {
        x <- counts
        dimnames(x)[[margin]][[2]] <- dimnames(x)[[margin]][[1]]
        x
    }
    bare <- unname(as.matrix(counts))
    batch <- unname(groups_of())
    expect_snapshot({
        refusal(embed(counts * 0))
        refusal(embed(counts[, 0], character()))
        refusal(embed(counts[0, ]))
        refusal(embed(bare, batch))
        refusal(embed(named(1), batch))
        refusal(embed(named(2), batch))
    })
})

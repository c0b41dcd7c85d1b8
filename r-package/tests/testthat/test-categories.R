test_that("texts are in the natural order of anndata", {
    # What `natsorted` of the Python package natsort 8.4.0 makes of these texts.
    natural <- c(
        "", "0", "00a1", "1.5", "1.10", "2", "9", "10", "-", "B2", "T1", "T cell", "a", "a0", "a0b", "a1", "a1b", "a1b2", "a1b10", "a 1", "a-1", "b1",
        "cluster 9", "cluster 10", "v2-", "v2-3", "x9999999999", "x12345678901234567890123"
    )
    expect_identical(tutti:::natural_order(rev(natural)), natural)
    expect_identical(tutti:::natural_order(c("a2", "a02")), c("a02", "a2"))
})

test_that("factors keep their order, numbers theirs, and missing values are no level", {
    expect_identical(levels(tutti:::as_category(factor("b", c("b", "a")))), c("b", "a"))
    expect_identical(levels(tutti:::as_category(c(10, 9, NA))), c("9", "10"))
    expect_identical(levels(tutti:::as_category(c("s10", NA, "s9"))), c("s9", "s10"))
})

failing <- function(kind, message) function() structure(list(kind = kind, message = message), class = "tutti_failure")

test_that("a failure of Rust is a condition with its class, its text as it is, and the user's call", {
    user <- function() call_rust(failing("value", "100 %s of {cells} %n"))
    condition <- expect_error(user(), class = "tutti_error_value")
    expect_s3_class(condition, "tutti_error")
    expect_identical(conditionMessage(condition), "100 %s of {cells} %n")
    expect_identical(condition$call, quote(user()))
    expect_identical(call_rust(function(x) x, 3), 3)
})

test_that("what a user called is what an error names", {
    calls <- list(
        quote(RunConcord(pbmc(), "donor")), quote(RunConcord(counts_of(), 1:3)), quote(RunConcord(pbmc(), "groups", dropout = 2)),
        quote(MapToReference(pbmc(), 1)), quote(GetModel(1)), quote(ScoreIntegration(1, label.by = 1, group.by = 1)), quote(SimulateCells("none"))
    )
    for (call in calls) {
        condition <- expect_error(eval(call), class = "tutti_error")
        expect_identical(condition$call[[1]], call[[1]], label = deparse(call))
    }
})

test_that("a panic is a defect that is said, not a crash", {
    # Not what R ever hands over.
    expect_error(call_rust(rust_model_info, 1), class = "tutti_error_model")
    expect_error(call_rust(rust_simulate, list()), class = "tutti_error_internal")
})

test_that("warnings have a class of their own", {
    expect_warning(warn_tutti("%s {x}", "tutti_warning_stopped"), "%s {x}", fixed = TRUE, class = "tutti_warning_stopped")
    expect_warning(warn_tutti("b"), class = "tutti_warning")
})

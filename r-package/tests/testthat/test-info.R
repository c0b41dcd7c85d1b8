test_that("a build says what it is", {
    info <- tutti_info()
    expect_identical(info$package, as.character(utils::packageVersion("tutti")))
    expect_identical(info$core, info$package)
    expect_gte(info$processors, 1)
    expect_true("cpu" %in% info$devices)
    printed <- utils::capture.output(print(info))
    expect_length(printed, length(info))
    expect_match(printed[[1]], "^package +[0-9.]+$")
})

test_that("threads are the option's, or as many as there are, or two where checks limit them", {
    with_option <- function(value, code) {
        before <- options(tutti.threads = value)
        on.exit(options(before))
        force(code)
    }
    expect_identical(with_option(3, tutti_info()$threads), 3)
    expect_identical(with_option(3, tutti_threads(1)), 1)
    before <- Sys.getenv("_R_CHECK_LIMIT_CORES_", NA)
    on.exit(if (is.na(before)) Sys.unsetenv("_R_CHECK_LIMIT_CORES_") else Sys.setenv("_R_CHECK_LIMIT_CORES_" = before))
    Sys.setenv("_R_CHECK_LIMIT_CORES_" = "TRUE")
    expect_identical(with_option(NULL, tutti_threads()), 2)
    Sys.setenv("_R_CHECK_LIMIT_CORES_" = "false")
    expect_identical(with_option(NULL, tutti_threads()), 0)
    expect_error(with_option("many", tutti_threads()), class = "tutti_error_argument")
})

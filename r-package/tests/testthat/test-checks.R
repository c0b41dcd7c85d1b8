test_that("arguments of Rust are whole, in range and of length one", {
    expect_identical(check_count(3L), 3)
    expect_identical(check_count(0, least = 0), 0)
    expect_null(check_count(NULL, null = TRUE))
    expect_identical(check_share(1), 1)
    expect_identical(check_string("a"), "a")
    n <- 2.5
    flag <- NA
    text <- ""
    expect_snapshot({
        refusal(check_count(n))
        refusal(check_count(c(1, 2), "n"))
        refusal(check_count(NA_real_, "n"))
        refusal(check_count(3e9, "n"))
        refusal(check_count(NULL, "n"))
        refusal(check_share(-0.1, "share"))
        refusal(check_number("a", "number"))
        refusal(check_flag(flag))
        refusal(check_string(text))
        refusal(check_string(list(1), "text"))
        refusal(check_settings(list(1)))
        refusal(check_settings(list(a = 1, a = 2)))
    })
})

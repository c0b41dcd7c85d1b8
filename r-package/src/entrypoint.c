// R loads the package through this; the reference also keeps the linker from dropping the Rust archive.
void register_extendr_panic_hook(void);
void R_init_tutti_extendr(void *dll);

void R_init_tutti(void *dll) {
    register_extendr_panic_hook();
    R_init_tutti_extendr(dll);
}

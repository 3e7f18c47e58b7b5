/* Objects of one function, as LLVM writes them: where its code is, and a copy in which it has another name.
 *
 * The cache's objects name their function by the hash of what it was made from. Debuggers should show the layer
 * instead: the copy has a longer table of names behind everything else, and the symbol points there. */
#include "backend/code.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *bytes;
    size_t size;
    const Elf64_Shdr *sections;
    uint32_t section_count;
} Elf;

static bool elf_has(const Elf *elf, uint64_t offset, uint64_t size) {
    return offset <= elf->size && size <= elf->size - offset;
}

static bool elf_open(const void *bytes, size_t size, Elf *elf) {
    *elf = (Elf){.bytes = bytes, .size = size};
    const Elf64_Ehdr *header = bytes;
    if (size < sizeof *header || memcmp(header->e_ident, ELFMAG, SELFMAG) || header->e_ident[EI_CLASS] != ELFCLASS64 ||
        header->e_ident[EI_DATA] != ELFDATA2LSB || header->e_shoff % 8 || header->e_shentsize != sizeof(Elf64_Shdr))
        return false;
    elf->section_count = header->e_shnum;
    elf->sections = (const Elf64_Shdr *)(elf->bytes + header->e_shoff);
    return elf_has(elf, header->e_shoff, (uint64_t)elf->section_count * sizeof(Elf64_Shdr));
}

/* The function's symbol; *names: the section of the table that it is named in. NULL: there is none. */
static const Elf64_Sym *elf_symbol(const Elf *elf, const char *name, uint32_t *names) {
    for (uint32_t s = 0; s < elf->section_count; s++) {
        const Elf64_Shdr *table = &elf->sections[s];
        if (table->sh_type != SHT_SYMTAB || table->sh_link >= elf->section_count || table->sh_offset % 8 ||
            !elf_has(elf, table->sh_offset, table->sh_size))
            continue;
        const Elf64_Shdr *texts = &elf->sections[table->sh_link];
        const Elf64_Sym *symbols = (const Elf64_Sym *)(elf->bytes + table->sh_offset);
        if (!elf_has(elf, texts->sh_offset, texts->sh_size) || !texts->sh_size) continue;
        for (uint64_t i = 0; i < table->sh_size / sizeof *symbols; i++) {
            uint64_t at = symbols[i].st_name, length = strlen(name) + 1;
            if (ELF64_ST_TYPE(symbols[i].st_info) != STT_FUNC) continue; /* the file has the same name */
            if (at >= texts->sh_size || length > texts->sh_size - at) continue;
            if (memcmp(elf->bytes + texts->sh_offset + at, name, length)) continue;
            *names = table->sh_link;
            return &symbols[i];
        }
    }
    return NULL;
}

const void *elf_function(const void *object, size_t size, const char *symbol, size_t *code_size) {
    Elf elf;
    uint32_t names;
    const Elf64_Sym *found = elf_open(object, size, &elf) ? elf_symbol(&elf, symbol, &names) : NULL;
    *code_size = 0;
    if (!found || found->st_shndx >= elf.section_count) return NULL;
    const Elf64_Shdr *section = &elf.sections[found->st_shndx];
    if (!elf_has(&elf, section->sh_offset, section->sh_size) || found->st_value > section->sh_size ||
        found->st_size > section->sh_size - found->st_value)
        return NULL;
    *code_size = found->st_size;
    return elf.bytes + section->sh_offset + found->st_value;
}

LLVMMemoryBufferRef elf_rename(LLVMMemoryBufferRef object, const char *symbol, const char *name) {
    const char *bytes = LLVMGetBufferStart(object);
    Elf elf;
    uint32_t names;
    const Elf64_Sym *found =
        elf_open(bytes, LLVMGetBufferSize(object), &elf) ? elf_symbol(&elf, symbol, &names) : NULL;
    if (!found) return NULL;
    uint64_t old = elf.sections[names].sh_size, size = old + strlen(name) + 1;
    char *copy = malloc(elf.size + size);
    if (!copy) die("no memory");
    memcpy(copy, bytes, elf.size);
    memcpy(copy + elf.size, bytes + elf.sections[names].sh_offset, old);
    memcpy(copy + elf.size + old, name, strlen(name) + 1);
    Elf64_Shdr *section = (Elf64_Shdr *)(copy + ((const char *)&elf.sections[names] - bytes));
    section->sh_offset = elf.size;
    section->sh_size = size;
    ((Elf64_Sym *)(copy + ((const char *)found - bytes)))->st_name = (Elf64_Word)old;
    LLVMMemoryBufferRef renamed = LLVMCreateMemoryBufferWithMemoryRangeCopy(copy, elf.size + size, name);
    free(copy);
    return renamed;
}
